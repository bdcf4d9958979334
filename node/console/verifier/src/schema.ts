// What the columns of a dataset are, and what a disclosed field element says (docs/protocol.md section 7).

import { byteLength, concat, toNumber, utf8 } from "./bytes.js";
import type { Body, Column } from "./entry.js";
import { first248, sha256 } from "./hash.js";
import { hasControl, hasOuterSpace } from "./text.js";
import { daySeconds, dayOf } from "./time.js";
import { normalForm } from "./unicode.js";

export const numericColumns = 12;
export const textColumns = 4;
export const allColumns = numericColumns + textColumns;
const maxText = 1024;
const smallest = -(1n << 63n);

const reserved = new Set(
  ("true false null in as break const continue else for function if import let loop package namespace return var void while").split(" "),
);

/** The columns of a declared dataset with their positions in the circuit. */
export class Schema {
  private readonly positions = new Map<string, { column: Column; position: number }>();

  /** Undefined for a declaration that the ledger takes and no circuit does: too many columns of a kind, or names that no policy can use. */
  static of(d: Body<"dataset.declare">): Schema | undefined {
    const s = new Schema();
    let [numeric, text] = [0, numericColumns];
    for (const column of d.columns ?? []) {
      if (reserved.has(column.name) || [column.title, column.unit, ...(column.codes ?? [])].some(hasControl)) return undefined;
      s.positions.set(column.name, { column, position: column.type === "text" ? text++ : numeric++ });
    }
    return hasControl(d.title) || numeric > numericColumns || text > allColumns ? undefined : s;
  }

  /** The position of a column, 0 to 15. */
  position(name: string): number | undefined {
    return this.positions.get(name)?.position;
  }

  column(name: string): Column | undefined {
    return this.positions.get(name)?.column;
  }
}

/** The hash of a text: the first 248 bits of SHA-256, never 0. */
export function textElement(text: string): bigint {
  return first248(sha256(concat(utf8("grille/v1/text\0"), utf8(text)))) || 1n;
}

/**
 * What a disclosed element says, as people write it; "" for a missing value. claimed is the text that a text column's element is the hash of.
 * Undefined for an element that no value of the column has.
 */
export function reveal(column: Column, value: bigint, claimed: string): string | undefined {
  if (claimed !== "" && (column.type !== "text" || value === 0n)) return undefined;
  if (value === 0n) return "";
  if (column.type === "text") return isCellText(claimed) && textElement(claimed) === value ? claimed : undefined;
  if (value >= 1n << 64n) return undefined;
  return formatNumber(column, value + smallest);
}

function isCellText(s: string): boolean {
  return s !== "" && byteLength(s) <= maxText && normalForm(s) === s && !hasOuterSpace(s) && !hasControl(s);
}

function formatNumber(column: Column, n: bigint): string | undefined {
  switch (column.type) {
    case "int":
      return String(n);
    case "decimal":
      return formatDecimal(n, column.scale);
    case "date":
      return n >= -719162n && n <= 2932896n ? dayOf(Number(n) * daySeconds) : undefined; // years 0001 to 9999
    case "bool":
      return n === 0n ? "false" : n === 1n ? "true" : undefined;
    case "enum":
      return n >= 0n && n < BigInt(column.codes!.length) ? column.codes![Number(n)] : undefined;
    case "code":
      return unpackCode(n);
  }
  return undefined;
}

function formatDecimal(n: bigint, scale: number): string {
  const digits = String(n < 0n ? -n : n).padStart(scale + 1, "0");
  const sign = n < 0n ? "-" : "";
  return sign + (scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`);
}

/** A code is up to 7 bytes of printable ASCII without spaces around it, read big endian. */
function unpackCode(n: bigint): string | undefined {
  if (n <= 0n || n >= 1n << 56n) return undefined;
  let code = "";
  for (let v = n; v > 0n; v >>= 8n) code = String.fromCharCode(Number(v & 0xffn)) + code;
  return /^[!-~](?:[ -~]*[!-~])?$/.test(code) && toNumber(utf8(code)) === n ? code : undefined;
}
