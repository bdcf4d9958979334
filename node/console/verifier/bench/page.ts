// The part of the measurement that runs in a browser: window.files are base64, and the figures become the document's text.

import { fromBase64 } from "../src/bytes.js";
import { measure } from "./measure.js";

interface Input {
  bundle: string;
  network: string;
  key: string;
  samples: number;
}

const input = (globalThis as unknown as { files: Input }).files;
const bytes = (s: string) => fromBase64(s)!;
try {
  const figures = measure({ bundle: bytes(input.bundle), network: bytes(input.network), key: bytes(input.key) }, input.samples);
  document.body.textContent = `FIGURES ${JSON.stringify(figures)} END`;
} catch (e) {
  document.body.textContent = `FAILED ${String(e)} END`;
}
