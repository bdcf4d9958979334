// Approvals (docs/protocol.md section 4): which people must sign an entry, and whether they did.

import { fromBase64 } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { type Entry, approvalMessage, maxEntry } from "./entry.js";
import type { Approvers } from "./network.js";

/** Whether an entry at an index of a log has the approvals that the log's rules ask for there. */
export function isApproved(rules: Approvers[] | null, origin: string, index: number, e: Entry): boolean {
  if (e.kind !== "policy.publish" && e.kind !== "agreement.accept" && e.kind !== "group.define") return true;
  const rule = [...(rules ?? [])].reverse().find((r) => r.from <= index);
  if (!rule || rule.number === 0) return true;
  const message = approvalMessage(origin, e);
  if (message.length > maxEntry + `grille/v1/approval\n${origin}\n`.length) return false; // its canonical form would be no entry
  const valid = (e.body.approvals ?? []).filter((a) => verifyEd25519(fromBase64(a.key)!, message, fromBase64(a.signature)!));
  return new Set(valid.map((a) => a.key).filter((k) => rule.keys!.includes(k))).size >= rule.number;
}
