// Signed notes as the ledger uses them: C2SP's signed-note, tlog-checkpoint and tlog-cosignature. A head is a checkpoint with its owner's
// signature and the cosignatures of exactly a quorum of mirrors (docs/protocol.md section 5).

import { base64, bigEndian, byteLength, concat, fromBase64, toNumber, utf8 } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { sha256 } from "./hash.js";
import { hasSpace } from "./text.js";
import { maxTreeSize, type Tree } from "./tlog.js";

const maxSize = 16 << 10;
const maxSignatures = 64;

/** A note that is malformed, or a signature that is missing or does not verify. */
export class NoteError extends Error {}

export interface Signature {
  name: string;
  id: number; // key id
  body: Uint8Array; // after the key id
  line: string; // with its line feed
}

/** A parsed note, not verified. */
export interface Checkpoint {
  origin: string;
  tree: Tree;
  text: string; // what signatures sign
  signatures: Signature[];
}

/** An Ed25519 verifier key in C2SP's form: NAME+ID+BASE64(TYPE || KEY). */
export interface VerifierKey {
  name: string;
  id: number;
  key: Uint8Array; // 32 bytes
}

/** Types of verifier keys: of logs, and of whoever cosigns. */
export const logType = 0x01;
export const cosignatureType = 0x04;

/** Reads a verifier key of a type in its one spelling; undefined for another text. */
export function parseVerifierKey(text: string, type: number): VerifierKey | undefined {
  const m = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/u.exec(text);
  const typed = m ? fromBase64(m[3]!) : undefined;
  if (!m || !typed || typed.length !== 33 || typed[0] !== type || hasSpace(m[1]!)) return undefined;
  const id = Number(toNumber(sha256(utf8(m[1]! + "\n"), typed).subarray(0, 4)));
  return id === parseInt(m[2]!, 16) ? { name: m[1]!, id, key: typed.subarray(1) } : undefined;
}

/** Reads a signed checkpoint without verifying anything. */
export function parseCheckpoint(note: string): Checkpoint {
  if (byteLength(note) > maxSize || /[\u0000-\u0009\u000b-\u001f]/.test(note)) throw new NoteError("too long, or control characters");
  const cut = note.indexOf("\n\n");
  if (cut < 0) throw new NoteError("no signatures");
  const text = note.slice(0, cut + 1);
  const lines = note.slice(cut + 2).split("\n");
  if (lines.pop() !== "" || lines.length < 1 || lines.length > maxSignatures) throw new NoteError("signature lines");
  return { ...parseText(text), text, signatures: lines.map((l) => parseSignature(l + "\n")) };
}

/** Reads the text of a checkpoint: origin, size and root, each on a line, and nothing else. */
function parseText(text: string): { origin: string; tree: Tree } {
  const [origin, size, root, end, ...rest] = text.split("\n");
  const hash = root === undefined ? undefined : fromBase64(root);
  const n = Number(size);
  if (!origin || size === undefined || !/^(0|[1-9][0-9]*)$/.test(size) || n > maxTreeSize || hash?.length !== 32 || end !== "" || rest.length > 0) {
    throw new NoteError("not a checkpoint of three lines");
  }
  return { origin, tree: { size: n, root: hash } };
}

function parseSignature(line: string): Signature {
  const m = /^— ([^ ]+) ([^ \n]+)\n$/u.exec(line);
  const raw = m ? fromBase64(m[2]!) : undefined;
  const name = m?.[1] ?? "";
  if (!raw || raw.length < 5 || byteLength(line) > 1024 || /[+\ufffd]/.test(name) || hasSpace(name)) throw new NoteError("signature line");
  return { name, id: Number(toNumber(raw.subarray(0, 4))), body: raw.subarray(4), line };
}

/** The signature line of a name and key id. */
export function signatureLine(name: string, id: number, body: Uint8Array): string {
  return `— ${name} ${base64(concat(bigEndian(id, 4), body))}\n`;
}

/** Returns the owner's signature line if it is there and verifies: the first under the owner's name and key. */
export function verifyOwner(c: Checkpoint, owner: VerifierKey): Signature {
  const own = c.signatures.find((s) => s.name === owner.name && s.id === owner.id);
  if (!own || !verifyEd25519(owner.key, utf8(c.text), own.body)) throw new NoteError("the owner's signature is missing or wrong");
  return own;
}

/** The time, in seconds since 1970, of a cosignature that verifies: cosignature/v1. */
export function verifyCosignature(text: string, mirror: VerifierKey, s: Signature): number {
  if (s.body.length !== 72) throw new NoteError(`${mirror.name}'s cosignature`);
  const time = toNumber(s.body.subarray(0, 8));
  const message = utf8(`cosignature/v1\ntime ${time}\n${text}`);
  if (!verifyEd25519(mirror.key, message, s.body.subarray(8))) throw new NoteError(`${mirror.name}'s cosignature`);
  if (time > BigInt(2 ** 31 - 1) * 1000n) throw new NoteError(`${mirror.name}'s cosignature time`);
  return Number(time);
}

/** A head's tree and the times of its cosignatures, ascending. */
export interface Head {
  tree: Tree;
  times: number[];
}

/**
 * Verifies a head in its one form: the owner's line, then cosignatures of exactly quorum of the mirrors, in the mirrors' order, and nothing
 * else. Throws NoteError.
 */
export function verifyHead(note: string, origin: string, owner: VerifierKey, mirrors: VerifierKey[], quorum: number): Head {
  const c = parseCheckpoint(note);
  if (c.origin !== origin) throw new NoteError("checkpoint of another origin");
  const own = verifyOwner(c, owner);
  const lines = new Map<VerifierKey, string>();
  const times: number[] = [];
  for (const s of c.signatures) {
    const mirror = mirrors.find((m) => m.name === s.name && m.id === s.id);
    if (!mirror) continue;
    if (lines.has(mirror)) throw new NoteError(`${mirror.name} cosigned twice`);
    times.push(verifyCosignature(c.text, mirror, s));
    lines.set(mirror, s.line);
  }
  if (lines.size !== quorum) throw new NoteError(`${lines.size} mirrors cosigned, want exactly ${quorum}`);
  const again = c.text + "\n" + own.line + mirrors.map((m) => lines.get(m) ?? "").join("");
  if (again !== note) throw new NoteError("other signatures, or in another order");
  return { tree: c.tree, times: times.sort((a, b) => a - b) };
}
