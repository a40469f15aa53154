/* What the pages in app/static have in common: scripts and style sheets in one file each, from pinned packages, the HTML,
   and the licences of everything that went in. */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

const STATIC = join(import.meta.dirname, "../app/static");
const NOT_HASHED = ["package.json", ".gitignore"]; // the lock file says all that package.json does

function sourcesIn(folder) {
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => name);
  return files.filter((name) => !NOT_HASHED.includes(name)).sort().map((name) => join(folder, name));
}

/* Of what a folder's pages are built from, and of what all pages share. tests/app/test_static_assets.py hashes the same
   files in the same order: a change without a rebuild fails there. */
function digestOfSources(folder) {
  const digest = createHash("sha256");
  for (const source of [...sourcesIn(folder), ...sourcesIn(import.meta.dirname)]) digest.update(readFileSync(source));
  return digest.digest("hex");
}

/* The package folder of a bundled file: node_modules/name or node_modules/@scope/name, the innermost one. */
function packageFolder(input) {
  return input.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
}

/* What a package says of its licence: the texts it ships, else what its package.json declares. */
function licenceOf(folder) {
  const declaration = JSON.parse(readFileSync(join(folder, "package.json")));
  const { name, version, author, repository } = declaration;
  const license = declaration.license ?? declaration.licenses?.map(({ type }) => type).join(" OR "); // the old way
  const names = readdirSync(folder, { recursive: true }).filter((entry) => /^(licen[cs]e|notice)/i.test(entry)).sort();
  const texts = names.map((entry) => join(folder, entry)).filter((path) => statSync(path).isFile());
  const declared = [license, author?.name ?? author, repository?.url ?? repository].filter(Boolean).join(", ");
  return {
    title: `${name} ${version} (${license})`,
    text: texts.map((path) => readFileSync(path, "utf8").trim()).join("\n\n") ||
      `The package ships no licence text. Its package.json declares: ${declared}`,
  };
}

/* Every bundled package under the licence text it ships; packages that share a text share a section. */
function licencesOf(folder, inputs) {
  const packages = [...new Set(Object.keys(inputs).map(packageFolder).filter(Boolean))].sort();
  const sections = new Map();
  for (const { title, text } of packages.map((each) => licenceOf(join(folder, each)))) {
    sections.set(text, [...(sections.get(text) ?? []), title]);
  }
  const rule = "=".repeat(100);
  const written = [...sections].map(([text, titles]) => `${rule}\n${titles.join("\n")}\n${rule}\n${text}\n`);
  return `Third-party software in the scripts and style sheets beside this file, with its licences.\n\n${written.join("\n")}`;
}

/* Builds app/static/<name> anew with the esbuild of the folder that asks. `entryPoints` are as esbuild takes them, `pages`
   are HTML files of the folder; anything else is an option of esbuild. */
export async function bundle(esbuild, { name, folder, pages, ...options }) {
  const output = join(STATIC, name);
  rmSync(output, { recursive: true, force: true });
  mkdirSync(output, { recursive: true });
  const banner = `/* Built by tools/${name}; licences in LICENSES.txt; sources sha256:${digestOfSources(folder)} */`;
  const { metafile } = await esbuild.build({
    absWorkingDir: folder,
    outdir: relative(folder, output),
    bundle: true,
    minify: true,
    format: "iife",
    target: ["es2022"],
    charset: "utf8",
    legalComments: "none", // LICENSES.txt has them whole
    banner: { js: banner, css: banner },
    metafile: true,
    ...options,
  });
  for (const page of pages) copyFileSync(join(folder, page), join(output, page));
  writeFileSync(join(output, "LICENSES.txt"), licencesOf(folder, metafile.inputs));
}
