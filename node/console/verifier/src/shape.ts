// Shapes of JSON documents: what may stand in them, and their canonical spelling (docs/protocol.md section 1). A value that a document
// leaves out is the zero of its shape; docs/protocol.md marks those that must be left out when empty with a question mark.

import { base64, compareText, fromBase64, isHex } from "./bytes.js";
import { JsonError, type Node, parseStrict, quote } from "./json.js";

export interface Shape<T> {
  zero(): T;
  /** Whether null may stand for it. */
  readonly nillable: boolean;
  /** Reads a value; doc is the text of the document. Throws JsonError. */
  decode(node: Node, doc: string): T;
  /** Its canonical text. pad is the indentation of the line that it begins on, undefined for a document of one line. */
  encode(value: T, pad?: string): string;
  empty(value: T): boolean;
}

/** The value that a shape describes. */
export type Of<S> = S extends Shape<infer T> ? T : never;

interface Field<T> {
  shape: Shape<T>;
  optional: boolean;
}

/** Marks a field that is left out when it is empty. */
export function optional<T>(shape: Shape<T>): Field<T> {
  return { shape, optional: true };
}

function want(what: string): never {
  throw new JsonError(`want ${what}`);
}

function leaf<T>(zero: T, decode: (n: Node, doc: string) => T, encode: (v: T) => string, empty: (v: T) => boolean, nillable = false): Shape<T> {
  return { zero: () => zero, nillable, decode, encode, empty };
}

export const text: Shape<string> = leaf("", (n) => (n.kind === "string" ? n.value : want("a string")), quote, (v) => v === "");

export const bool: Shape<boolean> = leaf<boolean>(
  false,
  (n) => (n.kind === "true" ? true : n.kind === "false" ? false : want("true or false")),
  String,
  (v) => !v,
);

/** An integer from min to max, of at most 53 bits. */
export function integer(min: number, max: number): Shape<number> {
  return leaf(
    0,
    (n) => {
      if (n.kind !== "number" || !/^-?[0-9]+$/.test(n.text) || (min >= 0 && n.text[0] === "-")) want("an integer");
      const v = Number(n.text) + 0; // -0 is 0
      return v >= min && v <= max ? v : want(`an integer from ${min} to ${max}`);
    },
    String,
    (v) => v === 0,
  );
}

export const signed = integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
export const unsigned = integer(0, Number.MAX_SAFE_INTEGER);
export const unsigned32 = integer(0, 2 ** 32 - 1);
export const signed32 = integer(-(2 ** 31), 2 ** 31 - 1);

/** A signed 64-bit integer in a string. */
export const quoted64: Shape<bigint> = leaf(
  0n,
  (n) => {
    if (n.kind !== "string" || !/^(0|-?[1-9][0-9]{0,18})$/.test(n.value)) want("an integer in a string");
    const v = BigInt(n.value);
    return v >= -(1n << 63n) && v < 1n << 63n ? v : want("an integer of 64 bits in a string");
  },
  (v) => `"${v}"`,
  (v) => v === 0n,
);

/** 32 bytes as 64 lower-case hex digits. */
export const hash: Shape<string> = leaf(
  "0".repeat(64),
  (n) => (n.kind === "string" && isHex(n.value, 32) ? n.value : want("64 lower-case hex digits")),
  (v) => `"${v}"`,
  () => false,
);

/** Bytes in base64. */
export const bytes: Shape<Uint8Array | null> = leaf<Uint8Array | null>(
  null,
  (n) => {
    if (n.kind === "null") return null;
    return (n.kind === "string" ? fromBase64(n.value) : undefined) ?? want("base64");
  },
  (v) => (v === null ? "null" : `"${base64(v)}"`),
  (v) => v === null || v.length === 0,
  true,
);

/** Any value, kept as its text. */
export const raw: Shape<string> = leaf("", (n, doc) => doc.slice(n.at, n.end), (v) => v, (v) => v === "", true);

/** A list; null is one, too, and another one than the empty list. */
export function list<T>(of: Shape<T>): Shape<T[] | null> {
  return {
    zero: () => null,
    nillable: true,
    decode: (n, doc) => {
      if (n.kind === "null") return null;
      return n.kind === "array" ? n.items.map((item) => decodeNode(of, item, doc)) : want("a list");
    },
    encode: (v, pad) => {
      if (v === null) return "null";
      if (v.length === 0) return "[]";
      const inner = pad === undefined ? undefined : pad + "  ";
      return `[${breaks(v.map((item) => of.encode(item, inner)), pad)}]`;
    },
    empty: (v) => v === null || v.length === 0,
  };
}

/** An object with any names. */
export function map<T>(of: Shape<T>): Shape<Map<string, T> | null> {
  return {
    zero: () => null,
    nillable: true,
    decode: (n, doc) => {
      if (n.kind === "null") return null;
      return n.kind === "object" ? new Map([...n.members].map(([k, v]) => [k, decodeNode(of, v, doc)])) : want("an object");
    },
    encode: (v, pad) => {
      if (v === null) return "null";
      if (v.size === 0) return "{}";
      const inner = pad === undefined ? undefined : pad + "  ";
      const rows = [...v].sort((a, b) => compareText(a[0], b[0])).map(([k, x]) => quote(k) + colon(pad) + of.encode(x, inner));
      return `{${breaks(rows, pad)}}`;
    },
    empty: (v) => v === null || v.size === 0,
  };
}

/** A value or null. */
export function pointer<T>(to: Shape<T>): Shape<T | null> {
  return {
    zero: () => null,
    nillable: true,
    decode: (n, doc) => (n.kind === "null" ? null : to.decode(n, doc)),
    encode: (v, pad) => (v === null ? "null" : to.encode(v, pad)),
    empty: (v) => v === null,
  };
}

/** An object with exactly these names, in this order when written. */
export function struct<T extends object>(fields: { [K in keyof T]: Shape<T[K]> | Field<T[K]> }): Shape<T> {
  const list = Object.entries(fields).map(([name, f]) => {
    const field = f as Shape<unknown> | Field<unknown>;
    return { name, ...("optional" in field ? field : { shape: field, optional: false }) };
  });
  const names = new Set(list.map((f) => f.name));
  return {
    zero: () => Object.fromEntries(list.map((f) => [f.name, f.shape.zero()])) as T,
    nillable: false,
    decode: (n, doc) => {
      if (n.kind !== "object") want("an object");
      for (const name of n.members.keys()) if (!names.has(name)) throw new JsonError("an unknown name");
      const out: Record<string, unknown> = {};
      for (const { name, shape } of list) {
        const member = n.members.get(name);
        out[name] = member === undefined ? shape.zero() : decodeNode(shape, member, doc);
      }
      return out as T;
    },
    encode: (value, pad) => {
      const inner = pad === undefined ? undefined : pad + "  ";
      const rows: string[] = [];
      for (const { name, shape, optional } of list) {
        const v = (value as Record<string, unknown>)[name];
        if (!optional || !shape.empty(v)) rows.push(quote(name) + colon(pad) + shape.encode(v, inner));
      }
      return rows.length === 0 ? "{}" : `{${breaks(rows, pad)}}`;
    },
    empty: () => false,
  };
}

function colon(pad: string | undefined): string {
  return pad === undefined ? ":" : ": ";
}

function breaks(rows: string[], pad: string | undefined): string {
  return pad === undefined ? rows.join(",") : `\n${pad}  ${rows.join(`,\n${pad}  `)}\n${pad}`;
}

function decodeNode<T>(shape: Shape<T>, node: Node, doc: string): T {
  if (node.kind === "null" && !shape.nillable) throw new JsonError("null where a value is wanted");
  return shape.decode(node, doc);
}

/** Reads a document of at most max bytes strictly. Throws JsonError. */
export function decodeStrict<T>(data: Uint8Array, max: number, shape: Shape<T>): T {
  const { text, root } = parseStrict(data, max);
  return decodeNode(shape, root, text);
}

/** Reads a document that stands in its canonical spelling, of one line. Throws JsonError. */
export function decodeCanonical<T>(data: Uint8Array, max: number, shape: Shape<T>, spell: (v: T) => string = (v) => shape.encode(v)): T {
  const { text, root } = parseStrict(data, max);
  const value = decodeNode(shape, root, text);
  if (spell(value) !== text) throw new JsonError("not in canonical form (was it reformatted?)");
  return value;
}
