import{c as s}from"./chunk-ATTIQVYZ.js";self.onmessage=({data:o})=>self.postMessage({job:o.job,layout:s(o.nodes)});
