/*
 * Bundle src/ into page.js, a classic script, since a page opened from the file system may not load modules.
 *
 * The last line of page.js has the SHA-256 of the sources and of the lock file, so that a test without npm sees whether page.js is
 * the build of both: `npm ci && npm run build` in this folder.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

/** The digest of the names and contents of everything that decides the build. */
function digest() {
  const files = [...readdirSync("src").sort().map((name) => `src/${name}`), "build.js", "package-lock.json"];
  const hash = createHash("sha256");
  for (const file of files) {
    hash.update(`${file}\n`).update(readFileSync(file));
  }
  return hash.digest("hex");
}

const out = process.argv[2] ?? "page.js";
await build({
  entryPoints: ["src/main.js"],
  outfile: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  sourcemap: "linked",
  sourcesContent: false,
});
writeFileSync(out, `${readFileSync(out, "utf8")}// sources ${digest()}\n`);
