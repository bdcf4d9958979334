// Files of the repository that the tests read.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Chain, VerifyingKey, readChain, readLogs } from "../src/index.js";
import type { Trust } from "../src/index.js";

/** The repository, seen from dist/test. */
export const repository = join(dirname(fileURLToPath(import.meta.url)), "../../../../..");
export const vectorFolder = join(repository, "exchange/testdata/vectors");

export function bytesOf(path: string): Uint8Array {
  return new Uint8Array(readFileSync(path));
}

export interface Vector {
  name: string;
  about: string;
  bundle: string;
  network: string;
  keys: string[];
  log?: string | undefined;
  expect: { reason?: string; report?: object };
}

const keys = new Map<string, VerifyingKey>();
const chains = new Map<string, Chain>();

/** What a vector gives to a verifier beside the bundle. */
export function trustOf(v: Pick<Vector, "network" | "keys" | "log">): Trust {
  const file = (name: string) => bytesOf(join(vectorFolder, name));
  const chain = chains.get(v.network) ?? readChain(file(v.network));
  chains.set(v.network, chain);
  const trust: Trust = {
    chain,
    keys: v.keys.map((name) => {
      if (!keys.has(name)) keys.set(name, new VerifyingKey(file(name)));
      return keys.get(name)!;
    }),
  };
  if (v.log) trust.replica = readLogs(file(v.log), chain);
  return trust;
}

export function vectors(): Vector[] {
  const index = JSON.parse(readFileSync(join(vectorFolder, "vectors.json"), "utf8")) as { v: number; vectors: Vector[] };
  if (index.v !== 1) throw new Error("vectors.json of another version");
  return index.vectors;
}
