// What scripts in a page have in common: an input that runPage gave, and a result that it reads from the document.

/** Makes what a function says of the input the text of the document. */
export function publish<T>(make: (input: T) => unknown): void {
  try {
    const input = (globalThis as unknown as { input: T }).input;
    document.body.textContent = `RESULT ${JSON.stringify(make(input))} END`;
  } catch (e) {
    document.body.textContent = `FAILED ${String(e)} END`;
  }
}
