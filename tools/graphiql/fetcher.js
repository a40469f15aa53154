/* How GraphiQL talks to the server: queries and mutations by POST, subscriptions over graphql-transport-ws. */
import { getOperationAST } from "graphql";
import { createClient } from "graphql-ws";

import { cookiesFor } from "../cookies.js";

function lowerCased(headers = {}) {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

async function post(endpoint, request, headers) {
  const response = await fetch(endpoint, {
    method: "POST",
    credentials: cookiesFor(headers),
    headers: {
      ...headers,
      accept: "application/graphql-response+json, application/json",
      "content-type": "application/json",
      "x-harborguard-client": "graphiql", // a cross-site form cannot send it
    },
    body: JSON.stringify(request),
  });
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `HTTP ${response.status} ${response.statusText}: ${text.slice(0, 500)}` }] };
  }
}

/* graphql-ws reports an array of GraphQL errors, the socket's close event, or an Error. */
function reasonOf(error) {
  if (error instanceof CloseEvent) {
    return new Error(`The server closed the connection: ${error.code} ${error.reason}`.trim());
  }
  return error instanceof Error ? error : new Error("The WebSocket connection failed.");
}

/* An observable, which GraphiQL can stop at once; a generator would wait for the next event first. */
function subscription(endpoint, request, headers) {
  return {
    subscribe(observer) {
      const url = new URL(endpoint);
      url.protocol = url.protocol.replace("http", "ws");
      // A browser cannot set headers on a WebSocket: the credential travels in connection_init.
      const client = createClient({ url: url.href, connectionParams: headers, retryAttempts: 0 });
      const unsubscribe = client.subscribe(request, {
        next: (result) => observer.next(result),
        complete: () => observer.complete(),
        error: (error) => {
          if (Array.isArray(error)) {
            observer.next({ errors: error });
            observer.complete();
          } else {
            observer.error(reasonOf(error));
          }
        },
      });
      return { unsubscribe };
    },
  };
}

/* GraphiQL's fetcher for one absolute endpoint. */
export function createFetcher(endpoint) {
  return (request, { documentAST, headers } = {}) => {
    const sent = lowerCased(headers);
    const operation = documentAST && getOperationAST(documentAST, request.operationName);
    return operation?.operation === "subscription"
      ? subscription(endpoint, request, sent)
      : post(endpoint, request, sent);
  };
}
