/* Builds app/static/openapi. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as esbuild from "esbuild";

import { bundle } from "../bundle.mjs";

const HERE = import.meta.dirname;
const IMPORT = `import { AdoptedStyle, adopt } from ${JSON.stringify(join(HERE, "adopted_style.js"))};\n`;

/* What the page's content security policy would refuse: the file, what stands there, and what stands there instead. */
const REWRITTEN = [
  // Scripts that add <style> elements.
  {
    file: /api-reference[/\\]dist[/\\]components[/\\]ApiReference\.vue\.script\.js$/,
    found: 'resolveDynamicComponent("style")',
    instead: "AdoptedStyle",
  },
  {
    file: /vue-sonner[/\\]lib[/\\]vue-sonner\.js$/,
    found: /let \w+ = document\.createElement\("style"\);\n.*createTextNode\((\w+)\)\);/,
    instead: "adopt($1);",
  },
  {
    file: /@scalar[/\\]use-toasts[/\\]dist[/\\]index\.js$/,
    found: /var elementStyle = .*?appendChild\(document\.createTextNode\((".*?")\)\);\s*document\.head\.appendChild\(elementStyle\);/,
    instead: "adopt($1);",
  },
  {
    file: /style-mod[/\\]src[/\\]style-mod\.js$/,
    found: "!root.head && root.adoptedStyleSheets", // it adopts in shadow roots only
    instead: "root.adoptedStyleSheets",
  },
  // Style attributes; a property is allowed.
  {
    file: /@scalar[/\\]themes[/\\]dist[/\\]index\.js$/,
    found: /(parent|child)\.setAttribute\("style", ("[^"]*")\)/g,
    instead: "$1.style.cssText = $2",
  },
  {
    file: /@scalar[/\\]code-highlight[/\\]dist[/\\]chunks[/\\]code\.js$/,
    found: /node\.properties\.style = \[.*\];/, // for line numbers, which the page does not show
    instead: "",
  },
  // A script that tries whether it may evaluate text: it may not.
  {
    file: /zod[/\\]v4[/\\]core[/\\]util\.js$/,
    found: 'new F("");',
    instead: "return false;",
  },
];

const withinThePolicy = {
  name: "within-the-policy",
  setup({ onLoad }) {
    for (const { file, found, instead } of REWRITTEN) {
      onLoad({ filter: file }, ({ path }) => {
        const text = readFileSync(path, "utf8");
        const rewritten = text.replace(found, instead);
        if (rewritten === text) throw new Error(`${path} has changed: look again at what it does`);
        return { contents: IMPORT + rewritten, loader: "js" };
      });
    }
  },
};

/* Swagger UI takes what React keeps in react-dom/client from react-dom, as its own build resolves it. */
const oneReactDom = {
  name: "one-react-dom",
  setup({ onResolve }) {
    onResolve({ filter: /^react-dom$/ }, ({ importer }) =>
      importer.includes("swagger-ui-es-bundle-core") ? { path: join(HERE, "react_dom.js") } : undefined,
    );
  },
};

await bundle(esbuild, {
  name: "openapi",
  folder: HERE,
  pages: ["scalar.html", "swagger.html"],
  entryPoints: { scalar: "scalar.js", swagger: "swagger.js" },
  // Scalar's assistant talks to a foreign service. It is off; so it need not be here, nor half a megabyte below it.
  alias: { "@scalar/agent-chat": "./no_assistant.js" },
  define: {
    "process.env.NODE_ENV": '"production"',
    __VUE_OPTIONS_API__: "true",
    __VUE_PROD_DEVTOOLS__: "false",
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
  },
  plugins: [withinThePolicy, oneReactDom],
});
