// Work in pieces on the main thread: whoever else has something to do gets its turn after a stretch of work, and not after
// every piece. On a busy loop a turn is tens of milliseconds, and a batch that gives twelve away waits a second.

/** Work at a stretch. */
const STRETCH_MS = 2;

export class Turn {
  #beganMs = performance.now();

  /** Between two pieces. */
  async pass(): Promise<void> {
    if (performance.now() - this.#beganMs < STRETCH_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#beganMs = performance.now();
  }
}
