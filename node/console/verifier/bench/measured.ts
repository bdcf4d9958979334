// The measurement in a page.

import { fromBase64 } from "../src/bytes.js";
import { measure } from "./measure.js";
import { publish } from "./page.js";

publish((input: { bundle: string; network: string; key: string; samples: number }) => {
  const bytes = (s: string) => fromBase64(s)!;
  return measure({ bundle: bytes(input.bundle), network: bytes(input.network), key: bytes(input.key) }, input.samples);
});
