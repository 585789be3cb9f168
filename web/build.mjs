// Builds the page into narformer/server/page. `npm ci && npm run build`; the output is committed.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";

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
// What it was built from, so that a test can tell output that is older than its sources.
const sources = ["package.json", "build.mjs", ...(await readdir("src")).sort().map((name) => `src/${name}`)];
const digest = createHash("sha256");
for (const source of sources) digest.update(await readFile(source));
await writeFile(`${out}/sources.sha256`, `${digest.digest("hex")}\n`);
for (const file of ["index.html", "icon.svg"]) await copyFile(`src/${file}`, `${out}/${file}`);
