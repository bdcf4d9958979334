// Why a bundle is refused (docs/protocol.md section 10): stable codes, the same from every verifier.

import { EntryError } from "./entry.js";
import { ProofError } from "./groth16.js";
import { JsonError } from "./json.js";
import { NoteError } from "./note.js";
import { ProgramError, PublicError } from "./program.js";

const complaints = [JsonError, NoteError, EntryError, ProgramError, PublicError, ProofError];

/** The codes, in the order of the checks. The first that applies is given. */
export const reasons = [
  "encoding",
  "configuration",
  "circuit",
  "checkpoint",
  "inclusion",
  "reference",
  "approvals",
  "query_signature",
  "query_terms",
  "header_signature",
  "times",
  "as_of",
  "epoch_age",
  "epoch_superseded",
  "not_in_force",
  "program",
  "public_inputs",
  "proof",
  "promise",
  "receipt",
  "claim",
  "opening",
] as const;
export type Reason = (typeof reasons)[number];

/** A bundle is not accepted. */
export class Refused extends Error {
  constructor(
    readonly reason: Reason,
    message: string,
  ) {
    super(`bundle refused (${reason}): ${message}`);
  }
}

/** Refuses with a reason unless a condition holds. */
export function ensure(reason: Reason, ok: boolean, message: string): asserts ok {
  if (!ok) throw new Refused(reason, message);
}

/** Runs a step whose own complaints about what it reads refuse with a reason. Any other error is a fault of this code, and passes. */
export function refusing<T>(reason: Reason, step: () => T): T {
  try {
    return step();
  } catch (e) {
    if (complaints.some((c) => e instanceof c)) throw new Refused(reason, (e as Error).message);
    throw e;
  }
}
