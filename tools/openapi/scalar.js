/* Scalar's API reference. Whatever would ask another host is off. */
import "@scalar/api-reference/style.css";
import "./page.css";

import { createApiReference } from "@scalar/api-reference";

import { element, identified, openapi } from "./page.js";

function send(input, init) {
  const request = new Request(input, init);
  return fetch(new Request(request, identified(request.headers)));
}

createApiReference(element, {
  url: openapi,
  customFetch: send,
  defaultOpenAllTags: true,
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
  persistAuth: false, // this page does not store keys
});
