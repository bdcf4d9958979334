// What a verification costs, in whatever runs JavaScript: Node or a browser.

import { type Trust, VerifyingKey, readChain, verify } from "../src/index.js";

/** The files that are measured. */
export interface Files {
  bundle: Uint8Array;
  network: Uint8Array;
  key: Uint8Array;
}

/** One figure: the median of some samples and the slowest of them, in milliseconds. */
export interface Figure {
  name: string;
  samples: number;
  median: number;
  slowest: number;
}

function figure(name: string, samples: number, run: () => void, before: () => void = () => {}): Figure {
  const took: number[] = [];
  for (let i = 0; i < samples; i++) {
    before();
    const from = performance.now();
    run();
    took.push(performance.now() - from);
  }
  took.sort((a, b) => a - b);
  return { name, samples, median: took[(took.length - 1) >> 1]!, slowest: took[took.length - 1]! };
}

/** Measures. The first answer is really the first: nothing is compiled or remembered before it. */
export function measure(f: Files, samples: number): Figure[] {
  let trust: Trust = { chain: readChain(f.network), keys: [] };
  const out: Figure[] = [];
  const again = () => verify(f.bundle, trust);
  out.push(figure("read a verifying key, the very first", 1, () => (trust = { ...trust, keys: [new VerifyingKey(f.key)] })));
  out.push(figure("verify an answer, the very first", 1, again));
  for (let i = 0; i < 5; i++) again(); // what runs is compiled by now
  out.push(figure("verify an answer, policy seen before", samples, again));
  out.push(figure("verify an answer, policy and date seen first", samples, again, () => trust.keys[0]!.forget()));
  const rest = Math.max(1, samples >> 3);
  out.push(figure("read a verifying key", rest, () => new VerifyingKey(f.key)));
  out.push(figure("check all of its 642 points", 1, () => new VerifyingKey(f.key).checkAll()));
  return out;
}
