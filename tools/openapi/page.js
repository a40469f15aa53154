/* What both pages share: where to draw, the document to draw, and how to send a request somebody tries out. */
import { cookiesFor } from "../cookies.js";

export const element = document.getElementById("reference");
export const openapi = new URL(element.dataset.document, document.baseURI).href;

/* Headers and cookies of a request that has the headers. */
export function identified(headers) {
  const filled = [...new Headers(headers)].filter(([, value]) => value); // an empty one is a key nobody has typed in
  const sent = Object.fromEntries(filled);
  return {
    headers: { ...sent, "x-harborguard-client": "docs" }, // a cross-site form cannot send it
    credentials: cookiesFor(sent),
  };
}
