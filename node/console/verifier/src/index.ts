// A verifier of Grille answer bundles. It needs no network: what it is given beside a bundle is a configuration to trust and the verifying key
// that this configuration names. See README.md for an example.

export { type Bundle, type Opening, decodeBundle, decodeOpening, encodeBundle } from "./bundle.js";
export { Chain, fingerprint, readChain } from "./chain.js";
export { KeyError, VerifyingKey } from "./groth16.js";
export { JsonError } from "./json.js";
export { Configuration, ConfigurationError } from "./network.js";
export { type Reason, Refused, reasons } from "./reason.js";
export { readLogs } from "./replica.js";
export { type Report, type Trust, verify } from "./verify.js";
export type { Replica } from "./view.js";
