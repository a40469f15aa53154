/* Whether a request of a page takes the session's cookie along: the server refuses two credentials at once, so a pasted key
   leaves the cookie at home. `headers` are those of the request, by their names in lower case. */
const CREDENTIAL_HEADERS = ["authorization", "x-api-key"];

export function cookiesFor(headers) {
  return CREDENTIAL_HEADERS.some((name) => name in headers) ? "omit" : "same-origin";
}
