/* Builds app/static/graphiql: one script, one style sheet, the page, and the licences of what is in them. */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUTPUT = join(HERE, "../../app/static/graphiql");
// In this order tests/app/test_static_assets.py hashes them too: a change without a rebuild fails there.
const SOURCES = [
  "adopted_style.js",
  "build.mjs",
  "fetcher.js",
  "index.html",
  "package-lock.json",
  "page.css",
  "page.jsx",
  "storage.js",
];

/* Half a megabyte of fonts that page.css replaces by the system's. */
const withoutFonts = {
  name: "without-fonts",
  setup({ onLoad }) {
    onLoad({ filter: /graphiql[/\\]dist[/\\]style\.css$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replace(/@font-face\s*{[^}]*}/g, ""),
      loader: "css",
    }));
  },
};

function digestOfSources() {
  const digest = createHash("sha256");
  for (const name of SOURCES) digest.update(readFileSync(join(HERE, name)));
  return digest.digest("hex");
}

/* The package folder of a bundled file: node_modules/name or node_modules/@scope/name, the innermost one. */
function packageFolder(input) {
  return input.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
}

/* What a package says of its licence: the texts it ships, else what its package.json declares. */
function licenceOf(folder) {
  const { name, version, license, author, repository } = JSON.parse(readFileSync(join(HERE, folder, "package.json")));
  const texts = readdirSync(join(HERE, folder)).filter((entry) => /^(licen[cs]e|notice)/i.test(entry)).sort();
  const declared = [license, author?.name ?? author, repository?.url ?? repository].filter(Boolean).join(", ");
  return {
    title: `${name} ${version} (${license})`,
    text: texts.map((entry) => readFileSync(join(HERE, folder, entry), "utf8").trim()).join("\n\n") ||
      `The package ships no licence text. Its package.json declares: ${declared}`,
  };
}

/* Every bundled package under the licence text it ships; packages that share a text share a section. */
function licencesOf(inputs) {
  const folders = [...new Set(Object.keys(inputs).map(packageFolder).filter(Boolean))].sort();
  const sections = new Map();
  for (const { title, text } of folders.map(licenceOf)) sections.set(text, [...(sections.get(text) ?? []), title]);
  const rule = "=".repeat(100);
  const written = [...sections].map(([text, titles]) => `${rule}\n${titles.join("\n")}\n${rule}\n${text}\n`);
  return `Third-party software in graphiql.js and graphiql.css, with its licences.\n\n${written.join("\n")}`;
}

rmSync(OUTPUT, { recursive: true, force: true });
mkdirSync(OUTPUT, { recursive: true });
const digest = digestOfSources();
const { metafile } = await build({
  absWorkingDir: HERE,
  entryPoints: { graphiql: "page.jsx" },
  outdir: relative(HERE, OUTPUT),
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  jsx: "automatic",
  charset: "utf8",
  legalComments: "none", // LICENSES.txt has them whole
  alias: { "react-style-singleton": "./adopted_style.js" },
  define: { "process.env.NODE_ENV": '"production"' },
  plugins: [withoutFonts],
  banner: {
    js: `/* Built by tools/graphiql; licences in LICENSES.txt; sources sha256:${digest} */`,
    css: `/* Built by tools/graphiql; licences in LICENSES.txt; sources sha256:${digest} */`,
  },
  metafile: true,
});
copyFileSync(join(HERE, "index.html"), join(OUTPUT, "index.html"));
writeFileSync(join(OUTPUT, "LICENSES.txt"), licencesOf(metafile.inputs));
