// All vectors in a page: chromium.ts gives the files and compares.

import { publish } from "../bench/page.js";
import { fromBase64 } from "../src/bytes.js";
import { Refused, type Trust, VerifyingKey, readChain, readLogs, verify } from "../src/index.js";

/** What chromium.ts gives: rows of the index, and the files that they name in base64. */
export interface Input {
  rows: { bundle: string; network: string; keys: string[]; log?: string | undefined }[];
  files: Record<string, string>;
}

function answers({ rows, files }: Input): object[] {
  const file = (name: string) => fromBase64(files[name]!)!;
  const keys = new Map<string, VerifyingKey>();
  const keyOf = (name: string) => {
    if (!keys.has(name)) keys.set(name, new VerifyingKey(file(name)));
    return keys.get(name)!;
  };
  return rows.map((row) => {
    const trust: Trust = { chain: readChain(file(row.network)), keys: row.keys.map(keyOf) };
    if (row.log) trust.replica = readLogs(file(row.log), trust.chain);
    try {
      return { report: verify(file(row.bundle), trust) };
    } catch (e) {
      if (e instanceof Refused) return { reason: e.reason };
      throw e;
    }
  });
}

publish(answers);
