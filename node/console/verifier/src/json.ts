// Strict JSON (docs/protocol.md section 1): I-JSON, RFC 7493. A document is read into a tree that keeps what JSON.parse loses: the
// spelling of numbers, names that stand twice, and where a value stands in the text.

import { utf8Text } from "./bytes.js";

/** Nesting beyond it is refused. */
export const maxDepth = 32;

/** A document that is not strict JSON, or not of the shape wanted. */
export class JsonError extends Error {}

export type Node =
  | { kind: "null" | "true" | "false"; at: number; end: number }
  | { kind: "number"; text: string; at: number; end: number }
  | { kind: "string"; value: string; at: number; end: number }
  | { kind: "array"; items: Node[]; at: number; end: number }
  | { kind: "object"; members: Map<string, Node>; at: number; end: number };

/** Reads a document of at most max bytes. */
export function parseStrict(data: Uint8Array, max: number): { text: string; root: Node } {
  if (data.length > max) throw new JsonError(`${data.length} bytes, the limit is ${max}`);
  const text = utf8Text(data);
  if (text === undefined) throw new JsonError("invalid UTF-8");
  return { text, root: parseText(text) };
}

/** Reads a document from its text. */
export function parseText(text: string): Node {
  const p = new Parser(text);
  const root = p.value(1);
  p.space();
  if (p.at !== text.length) throw new JsonError("data after the document");
  return root;
}

const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const plain = /[^"\\\u0000-\u001f]*/y;
const escapes: Record<string, string> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

class Parser {
  at = 0;
  constructor(private readonly text: string) {}

  space(): void {
    for (; ; this.at++) {
      const c = this.text[this.at];
      if (c !== " " && c !== "\t" && c !== "\n" && c !== "\r") return;
    }
  }

  value(depth: number): Node {
    if (depth > maxDepth) throw new JsonError(`nested deeper than ${maxDepth}`);
    this.space();
    const at = this.at;
    switch (this.text[at]) {
      case "{":
        return this.object(depth);
      case "[":
        return this.array(depth);
      case '"': {
        const value = this.string();
        return { kind: "string", value, at, end: this.at };
      }
      case "t":
        return this.word("true");
      case "f":
        return this.word("false");
      case "n":
        return this.word("null");
      default:
        return this.number();
    }
  }

  private word(kind: "null" | "true" | "false"): Node {
    const at = this.at;
    if (!this.text.startsWith(kind, at)) throw new JsonError("syntax error");
    this.at += kind.length;
    return { kind, at, end: this.at };
  }

  private number(): Node {
    const at = this.at;
    number.lastIndex = at;
    const text = number.exec(this.text)?.[0];
    if (text === undefined) throw new JsonError("syntax error");
    this.at += text.length;
    if (/[.eE]/.test(text)) {
      if (!Number.isFinite(Number(text))) throw new JsonError("number out of range");
    } else if (!Number.isSafeInteger(Number(text))) {
      throw new JsonError("integer beyond 2^53-1 outside a string");
    }
    return { kind: "number", text, at, end: this.at };
  }

  private string(): string {
    let out = "";
    for (this.at++; ; ) {
      plain.lastIndex = this.at;
      const run = plain.exec(this.text)![0];
      out += run;
      this.at += run.length;
      const c = this.text[this.at++];
      if (c === '"') break;
      if (c !== "\\") throw new JsonError("syntax error"); // a control character, or the end
      out += this.escape();
    }
    if (!wellFormed(out)) throw new JsonError("lone surrogate or noncharacter in a string");
    return out;
  }

  private escape(): string {
    const c = this.text[this.at++] ?? "";
    if (c !== "u") {
      const plain = escapes[c];
      if (plain === undefined) throw new JsonError("syntax error");
      return plain;
    }
    const unit = this.text.slice(this.at, this.at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(unit)) throw new JsonError("syntax error");
    this.at += 4;
    return String.fromCharCode(parseInt(unit, 16));
  }

  private object(depth: number): Node {
    const at = this.at++;
    const members = new Map<string, Node>();
    for (let first = true; ; first = false) {
      this.space();
      if (this.text[this.at] === "}" && first) break;
      if (this.text[this.at] !== '"') throw new JsonError("syntax error");
      const name = this.string();
      if (members.has(name)) throw new JsonError("a name stands twice");
      this.space();
      if (this.text[this.at++] !== ":") throw new JsonError("syntax error");
      members.set(name, this.value(depth + 1));
      this.space();
      if (this.text[this.at] === "}") break;
      if (this.text[this.at++] !== ",") throw new JsonError("syntax error");
    }
    return { kind: "object", members, at, end: ++this.at };
  }

  private array(depth: number): Node {
    const at = this.at++;
    const items: Node[] = [];
    for (let first = true; ; first = false) {
      this.space();
      if (this.text[this.at] === "]" && first) break;
      items.push(this.value(depth + 1));
      this.space();
      if (this.text[this.at] === "]") break;
      if (this.text[this.at++] !== ",") throw new JsonError("syntax error");
    }
    return { kind: "array", items, at, end: ++this.at };
  }
}

/** Whether a string has neither lone surrogates nor noncharacters. */
function wellFormed(s: string): boolean {
  if (/^[\u0000-\u007f]*$/.test(s)) return true;
  for (const c of s) {
    const r = c.codePointAt(0)!;
    if ((r >= 0xd800 && r <= 0xdfff) || (r & 0xfffe) === 0xfffe || (r >= 0xfdd0 && r <= 0xfdef)) return false;
  }
  return true;
}

/** A string in canonical JSON: escapes for quote, backslash, U+0000 to U+001F, U+2028 and U+2029, and for nothing else. */
export function quote(s: string): string {
  return JSON.stringify(s).replace(/[\u2028\u2029]/g, (c) => (c === "\u2028" ? "\\u2028" : "\\u2029"));
}

/** JSON text without insignificant white space, every token as it was spelled. */
export function compactText(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|[ \t\n\r]+/g, (m) => (m[0] === '"' ? m : ""));
}
