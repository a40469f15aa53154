/* GraphiQL's storage, without secrets: its history keeps the headers of every request, and they hold API keys. */
const PREFIX = "graphiql:";
const HISTORIES = [`${PREFIX}queries`, `${PREFIX}favorites`];

function withoutHeaders(history) {
  return JSON.stringify(JSON.parse(history), (name, value) => (name === "headers" ? undefined : value));
}

function ownKeys() {
  return Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));
}

export const storage = {
  get length() {
    return ownKeys().length;
  },
  clear: () => ownKeys().forEach((name) => localStorage.removeItem(name)),
  getItem: (name) => localStorage.getItem(name),
  removeItem: (name) => localStorage.removeItem(name),
  setItem: (name, value) => localStorage.setItem(name, HISTORIES.includes(name) ? withoutHeaders(value) : value),
};
