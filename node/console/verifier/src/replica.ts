// A file of whole logs, with which a verifier proves what a bundle only asserts: {"logs":[{"origin","entries":[text]}]}.

import type { Chain } from "./chain.js";
import { decodeStrict, list, struct, text } from "./shape.js";
import { Log, type Replica } from "./view.js";

/** The largest file of logs in bytes. */
export const maxLogs = 256 << 20;

const file = struct({ logs: list(struct({ origin: text, entries: list(text) })) });

/** Reads a file of logs. Throws JsonError. Nothing in it is believed: a bundle's checkpoint must be of the same tree. */
export function readLogs(data: Uint8Array, chain: Chain): Replica {
  return new Map((decodeStrict(data, maxLogs, file).logs ?? []).map((l) => [l.origin, new Log(l.origin, l.entries ?? [], chain)]));
}
