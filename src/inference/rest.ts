// How long something that fails is left alone. Each failure within the window doubles the rest, and a success does not end
// it: what fails every second time would otherwise never rest.

import { RUNTIME_FAILURES_MS, RUNTIME_REST_MS_MAX, RUNTIME_REST_MS_MIN } from '../limits-models.js';

export class Rest {
  /** When the failures of the window were. */
  #failures: number[] = [];
  #until = Number.NEGATIVE_INFINITY;
  #reason = '';
  #count = 0;

  get count(): number {
    return this.#count;
  }

  failed(reason: string, nowMs: number): void {
    this.#failures = this.#failures.filter((at) => nowMs - at < RUNTIME_FAILURES_MS);
    this.#failures.push(nowMs);
    // What is doubled beyond the longest rest need not be remembered.
    this.#failures = this.#failures.slice(-16);
    const pause = RUNTIME_REST_MS_MIN * 2 ** (this.#failures.length - 1);
    this.#until = nowMs + Math.min(pause, RUNTIME_REST_MS_MAX);
    this.#reason = reason;
    this.#count++;
  }

  /** Why it is left alone now; undefined when it may be tried. */
  reason(nowMs: number): string | undefined {
    return nowMs < this.#until ? this.#reason : undefined;
  }
}
