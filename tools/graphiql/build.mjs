/* Builds app/static/graphiql. */
import { readFileSync } from "node:fs";

import * as esbuild from "esbuild";

import { bundle } from "../bundle.mjs";

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

await bundle(esbuild, {
  name: "graphiql",
  folder: import.meta.dirname,
  pages: ["index.html"],
  entryPoints: { graphiql: "page.jsx" },
  jsx: "automatic",
  alias: { "react-style-singleton": "./adopted_style.js" },
  define: { "process.env.NODE_ENV": '"production"' },
  plugins: [withoutFonts],
});
