// The formats of queries, headers, promises and bundles (docs/protocol.md sections 9 and 11).

import { byteLength, compareText, isHex } from "./bytes.js";
import { signedShape } from "./envelope.js";
import { parseElement } from "./field.js";
import * as shape from "./shape.js";
import { type Of, bytes, decodeCanonical, hash, list, optional, pointer, signed, struct, text, unsigned } from "./shape.js";
import { isName } from "./text.js";
import { parseDate, parseTime } from "./time.js";

/** The largest bundle in bytes. */
export const maxBundle = 1 << 20;
const maxText = 1024;
const maxLife = 3600;
const maxAge = 9223372036; // seconds: what a 64-bit number of nanoseconds holds

const scope = struct({ program: text, period: text });

export const queryShape = struct({
  v: signed,
  id: text,
  instance: text,
  requester: text,
  holder: text,
  policy: text,
  policy_version: signed,
  tag: text,
  purpose: text,
  legal_basis: text,
  case: optional(text),
  disclose: optional(list(text)),
  scope: optional(pointer(scope)),
  max_age_seconds: signed,
  as_of: optional(text),
  epoch: optional(unsigned),
  issued: text,
  expires: text,
});
export type Query = Of<typeof queryShape>;

export const headerShape = struct({
  v: signed,
  instance: text,
  circuit: text,
  query: hash,
  origin: text,
  size: unsigned,
  time: text,
  as_of: text,
  dataset: unsigned,
  epoch: unsigned,
  next: optional(pointer(unsigned)),
  policy: unsigned,
  agreement: unsigned,
  group: optional(pointer(unsigned)),
  scope: optional(pointer(unsigned)),
  batch: optional(pointer(unsigned)),
});
export type Header = Of<typeof headerShape>;

export const promiseShape = struct({
  v: signed,
  member: text,
  query: hash,
  receipt: hash,
  beat: unsigned,
  place: shape.unsigned32,
  deadline: text,
});

const entry = struct({ index: unsigned, body: text, path: list(bytes) });
export type Included = Of<typeof entry>;

const opening = struct({ subject: text, nonce: text });
export type Opening = Of<typeof opening>;

const bundleShape = struct({
  v: signed,
  instance: text,
  configuration: struct({ version: signed, digest: text }),
  query: signedShape,
  header: signedShape,
  verdict: text,
  disclosed: optional(list(struct({ column: text, value: text, text: optional(text) }))),
  nullifier: optional(text),
  proof: bytes,
  checkpoint: text,
  entries: list(entry),
  promise: signedShape,
  salt: hash,
  receipt: optional(pointer(struct({ checkpoint: text, batch: entry, proof: struct({ path: list(hash) }) }))),
  claim: optional(pointer(struct({ checkpoint: text, batch: entry, slot: signed }))),
  opening: optional(pointer(opening)),
});
export type Bundle = Of<typeof bundleShape>;

/** Reads a bundle in its one encoding. Throws JsonError. */
export function decodeBundle(data: Uint8Array): Bundle {
  return decodeCanonical(data, maxBundle, bundleShape);
}

/** The one encoding of a bundle. */
export function encodeBundle(b: Bundle): string {
  return bundleShape.encode(b);
}

/** Reads an opening, the two fields that a holder is told beside a query. Throws JsonError. */
export function decodeOpening(data: Uint8Array): Opening {
  return shape.decodeStrict(data, maxText, opening);
}

/** The first thing that is not well formed in a query, or undefined. */
export function faultOf(q: Query): string | undefined {
  const columns = q.disclose ?? [];
  if (q.v !== 1) return "v";
  if (!isHex(q.id, 16)) return "id";
  if (q.instance === "" || q.requester === "" || q.holder === "" || q.policy === "" || q.policy_version < 1) return "a name";
  if (![q.purpose, q.legal_basis].every((s) => s !== "" && byteLength(s) <= maxText) || byteLength(q.case) > maxText) return "a text";
  if (columns.length > 16 || !columns.every((c, i) => i === 0 || compareText(columns[i - 1]!, c) < 0)) return "disclose";
  if (q.max_age_seconds < 0 || q.max_age_seconds > maxAge) return "max_age_seconds";
  if (q.as_of !== "" && (parseDate(q.as_of) === undefined || q.epoch !== 0)) return "as_of";
  if (q.epoch !== 0 && q.max_age_seconds !== 0) return "max_age_seconds beside epoch";
  if (q.scope && (q.as_of !== "" || q.epoch !== 0 || !isName(q.scope.program) || !isName(q.scope.period))) return "scope";
  if (parseElement(q.tag) === undefined) return "tag";
  const [issued, expires] = [parseTime(q.issued), parseTime(q.expires)];
  if (issued === undefined || expires === undefined || expires <= issued || expires - issued > maxLife) return "issued and expires";
  return undefined;
}
