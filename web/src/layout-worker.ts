/* Lays a network out beside the page, which stays responsive. */

import { layout } from "./layout";

self.onmessage = ({ data }) => self.postMessage({ job: data.job, layout: layout(data.nodes) });
