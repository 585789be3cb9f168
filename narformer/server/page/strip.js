import{a,b,c}from"./chunk-PW2UA6FX.js";export{a as NotOnnx,b as sourceOf,c as strip};
