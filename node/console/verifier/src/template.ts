// Published templates: a program and the places in it that depend on the answer's as-of date (docs/protocol.md section 8).

import { utf8 } from "./bytes.js";
import { JsonError } from "./json.js";
import { type Of, decodeStrict, list, optional, signed, struct } from "./shape.js";
import { type Program, ProgramError, checkProgram, programShape } from "./program.js";
import { dayNumber, readDay } from "./time.js";

/** The largest template in bytes. */
export const maxTemplate = 48 << 10;

const template = struct({
  program: programShape,
  dates: optional(list(struct({ atom: signed, years: signed, sign: signed }))),
});
export type Template = Of<typeof template>;

/** Reads a template and checks its program and its date slots. Throws ProgramError. */
export function parseTemplate(text: string): Template {
  let t: Template;
  try {
    t = decodeStrict(utf8(text), maxTemplate, template);
  } catch (e) {
    if (e instanceof JsonError) throw new ProgramError(`reading a template: ${e.message}`);
    throw e;
  }
  checkProgram(t.program);
  let last = -1;
  for (const d of t.dates ?? []) {
    if (d.atom <= last || d.atom >= (t.program.atoms ?? []).length || d.years < 0 || d.years > 200 || Math.abs(d.sign) !== 1) {
      throw new ProgramError("a date slot of a template");
    }
    last = d.atom;
  }
  return t;
}

/** The program at an as-of date, YYYY-MM-DD. Throws ProgramError. */
export function programAt(t: Template, asOf: string): Program {
  const day = readDay(asOf);
  if (!day) throw new ProgramError("an as-of date, want YYYY-MM-DD");
  const atoms = t.program.atoms?.map((a) => ({ ...a })) ?? null;
  for (const d of t.dates ?? []) {
    const a = atoms![d.atom]!;
    a.constant += BigInt(d.sign * daysBefore(day, d.years));
    if (a.constant < -(1n << 63n) || a.constant >= 1n << 63n) throw new ProgramError("a date slot beyond 64 bits");
  }
  const program = { ...t.program, atoms };
  checkProgram(program);
  return program;
}

/** The day number of a date so many calendar years before: 29 February of a year without one is the 28th. */
export function daysBefore(d: { year: number; month: number; day: number }, years: number): number {
  const y = d.year - years;
  const leap = y % 4 === 0 && (y % 100 !== 0 || y % 400 === 0);
  return dayNumber(y, d.month, d.month === 2 && d.day === 29 && !leap ? 28 : d.day);
}
