// Builds the page into narformer/server/page. `npm ci && npm run build`; the output is committed.
import { build } from "esbuild";
import { copyFile, mkdir, rm } from "node:fs/promises";

const out = "../narformer/server/page";
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: ["src/app.tsx", "src/strip.ts", "src/layout-worker.ts", "src/style.css"],
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  chunkNames: "chunk-[hash]",
  jsx: "automatic",
  jsxImportSource: "preact",
});
for (const file of ["index.html", "icon.svg"]) await copyFile(`src/${file}`, `${out}/${file}`);
