// Signed envelopes (docs/protocol.md section 1): a body that stays the text that was signed, and an Ed25519 signature over label, line feed, body.

import { concat, fromBase64, utf8 } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { hashParts } from "./hash.js";
import { type Of, type Shape, decodeStrict, struct, text } from "./shape.js";

/** The longest body in bytes. */
export const maxBody = 16 << 10;

export const labels = { query: "grille/v1/query", header: "grille/v1/header", promise: "grille/v1/promise" } as const;

export const signedShape = struct({ body: text, signature: text });
export type Signed = Of<typeof signedShape>;

/** Reads a body without checking its signature. Throws JsonError. */
export function peek<T>(s: Signed, of: Shape<T>): T {
  return decodeStrict(utf8(s.body), maxBody, of);
}

/** Whether a key signed the envelope under a label. */
export function isSignedBy(s: Signed, key: Uint8Array, label: string): boolean {
  const signature = fromBase64(s.signature);
  return signature !== undefined && verifyEd25519(key, concat(utf8(label + "\n"), utf8(s.body)), signature);
}

/** What identifies the signed text; the signature is left out. */
export function digest(s: Signed, label: string): Uint8Array {
  return hashParts(label, utf8(s.body));
}
