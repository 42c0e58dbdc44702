// How the loops of this program wait: for a turn of the event loop, for a while, again and again. Handed in like a
// clock, so that a simulation can run hours of waiting in an instant and in an order of its choice.

import { setTimeout as after } from 'node:timers/promises';

export interface Pace {
  /** Others have their turn: requests are answered while a long batch is scored. */
  turn(): Promise<void>;
  /** Resolves after `ms`, or as soon as the signal is aborted. Never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls `work` every `ms` until the returned function is called. Keeps no process alive. */
  every(ms: number, work: () => void): () => void;
}

export const REAL_PACE: Pace = {
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  // The only way in which it rejects is the signal.
  sleep: (ms, signal) => after(ms, undefined, { signal }).catch(() => {}),
  every(ms, work) {
    const timer = setInterval(work, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
};
