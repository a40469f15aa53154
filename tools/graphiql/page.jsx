/* The GraphQL page: GraphiQL on the endpoint that the page's HTML names. */
import "graphiql/style.css";
import "./page.css";

import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

import { createFetcher } from "./fetcher.js";
import { storage } from "./storage.js";

const WELCOME = `# Who am I, and what was scanned last?
#
# Not signed in? Put an API key under "Headers" below:
#   { "Authorization": "Bearer hg_ak_..." }
# then press "Re-fetch GraphQL schema" (bottom left).
# This page does not store keys.

query Welcome {
  me {
    organization {
      name
    }
    role
  }
  scans(limit: 5) {
    items {
      id
      image
      status
      grade
    }
  }
}
`;

const root = document.getElementById("graphiql");
const endpoint = new URL(root.dataset.endpoint, document.baseURI).href;

createRoot(root).render(
  <GraphiQL
    fetcher={createFetcher(endpoint)}
    storage={storage}
    defaultQuery={WELCOME}
    defaultEditorToolsVisibility="headers"
    showPersistHeadersSettings={false}
    shouldPersistHeaders={false}
    schemaDescription
    inputValueDeprecation
  >
    <GraphiQL.Logo>HarborGuard</GraphiQL.Logo>
  </GraphiQL>,
);
