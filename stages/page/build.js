/*
 * Bundle src/ into page.js, a classic script, since a page opened from the file system may not load modules; and turn the
 * equations of story.yaml into MathML, in equations.json, with their font in math.woff2. The licences of the bundled packages are collected in LICENSES.
 *
 * The last line of page.js has the SHA-256 of the sources and of the lock file, so that a test without npm sees whether the
 * files are the build of them: `npm ci && npm run build` in this folder.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import subsetFont from "subset-font";
import temml from "temml";
import { parse } from "yaml";

/** The digest of the names and contents of everything that decides the build. */
function digest() {
  const sources = readdirSync("src", { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`);
  const hash = createHash("sha256");
  for (const file of [...sources, "build.js", "package-lock.json", "story.yaml"].sort()) {
    hash.update(`${file}\n`).update(readFileSync(file));
  }
  return hash.digest("hex");
}

const OPTIONS = { bundle: true, minify: true, format: "iife", target: "es2022", charset: "utf8", legalComments: "none" };

/** The inputs of the bundles within the bundle. */
const inner = {};

/** `import code from "text:./PATH"` is the bundle of src/PATH as a text; its exports are those of the global variable `bundle`. */
const texts = {
  name: "texts",
  setup(builder) {
    builder.onResolve({ filter: /^text:/ }, ({ path }) => ({ path: path.replace("text:./", "src/"), namespace: "text" }));
    builder.onLoad({ filter: /.*/, namespace: "text" }, async ({ path }) => {
      const { outputFiles, metafile } = await build({ ...OPTIONS, entryPoints: [path], globalName: "bundle", metafile: true, write: false });
      Object.assign(inner, metafile.inputs);
      return { contents: outputFiles[0].text, loader: "text" };
    });
  },
};

const folder = process.argv[2] ?? ".";
const out = `${folder}/page.js`;
const { metafile } = await build({
  ...OPTIONS,
  entryPoints: ["src/main.js"],
  outfile: out,
  sourcemap: "linked",
  sourcesContent: false,
  metafile: true,
  plugins: [texts],
});
writeFileSync(out, `${readFileSync(out, "utf8")}// sources ${digest()}\n`);

// The licence of each bundled package, once for packages that share its text.
const licences = new Map();
for (const input of Object.keys({ ...metafile.inputs, ...inner })) {
  const folder = input.match(/^node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
  if (folder) {
    const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
    const { name, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    const text = file ? readFileSync(`${folder}/${file}`, "utf8").trim() : `Licence: ${license}`;
    licences.set(text, (licences.get(text) ?? new Set()).add(name));
  }
}
const stix = readFileSync("../../docs/assets/stix-two-math.LICENSE.txt", "utf8").trim();
licences.set(stix, new Set(["STIX Two Math"]));
const paragraphs = [...licences].map(([text, names]) => `${[...names].sort().join(", ")}\n\n${text}\n`).sort();
writeFileSync(`${folder}/LICENSES`, paragraphs.join("\n"));

const { steps } = parse(readFileSync("story.yaml", "utf8"));
const equations = steps
  .filter(({ equation }) => equation)
  .map(({ id, equation }) => [id, temml.renderToString(equation, { displayMode: true, throwOnError: true, annotate: true })]);
// A font with mathematical metrics, by which browsers place subscripts, with the characters of the equations only.
// Roots are elements of MathML, not characters.
const characters = `${equations.map(([, markup]) => markup.replace(/<[^>]*>/g, "")).join("")}√`;
const font = readFileSync("../../docs/assets/stix-two-math.woff2");
writeFileSync(`${folder}/math.woff2`, await subsetFont(font, characters, { targetFormat: "woff2" }));
writeFileSync(`${folder}/equations.json`, `${JSON.stringify(Object.fromEntries(equations), null, 1)}\n`);
