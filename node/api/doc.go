// Package api is the gateway's REST interface for its own department's applications: OpenAPI 3.1 on net/http.
//
// Rules that hold for every operation:
//   - A request needs the gateway's bearer token, except for /healthz and /readyz (and /metrics where configured).
//   - A subject id is only ever in the body of POST /v1/queries. No URL, log, metric or error holds one, so no part of a
//     rejected request is ever sent back: an error names the field and what would be right.
//   - Bodies, headers and times are bounded.
package api
