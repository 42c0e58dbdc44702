// What the demo's shop says, sent over remote-write as Prometheus would send it: weeks of history as fast as they are taken,
// the last hours of them in the steps of live, then step by step, by the clock or as far as it is told to go.

import { setTimeout as sleep } from 'node:timers/promises';
import { type FaultName, Faults } from './demo-faults.js';
import { createShop, type Shop } from './demo-shop.js';
import { remoteWrite } from './remote-write.js';

const HOUR_MS = 36e5;
const DAY_MS = 24 * HOUR_MS;
const HISTORY_STEP_MS = 60_000;
const LIVE_STEP_MS = 5_000;
/** Of history in steps of live: the forest has to know them before it judges by them. */
const FINE_MS = 3 * HOUR_MS;
/** However often faults come and go, steps are so far apart. */
const STEP_MS_MIN = 1_000;
const STEPS_PER_REQUEST = 100;
/** The first fault is so old when history ends. */
export const FIRST_FAULT_MS = 6 * LIVE_STEP_MS;
const SEED = 2;

export class Feed {
  readonly faults = new Faults();
  readonly #shop: Shop = createShop(SEED);
  #url = '';
  #lastMs = 0;
  #wake: (() => void) | undefined;
  #isStopped = false;

  /** History that ends with the last step before `untilMs`, in the middle of the first fault. */
  async replay(
    url: string,
    { lengthMs, untilMs }: { lengthMs: number; untilMs: number },
  ): Promise<{ samples: number; seconds: number }> {
    this.#url = url;
    const end = Math.floor(untilMs / LIVE_STEP_MS) * LIVE_STEP_MS;
    const begin = end - lengthMs;
    this.#planHistory(end);
    const began = Date.now();
    const fineFrom = Math.max(begin, end - FINE_MS);
    const coarse = await this.#sendSteps(begin, fineFrom - 1, HISTORY_STEP_MS);
    const fine = await this.#sendSteps(
      Math.max(begin, this.#lastMs + LIVE_STEP_MS),
      end,
      LIVE_STEP_MS,
    );
    return { samples: coarse + fine, seconds: (Date.now() - began) / 1000 };
  }

  /** As many steps of live as there are until then, without waiting for them. */
  async forward(untilMs: number): Promise<void> {
    await this.#sendSteps(this.#lastMs + LIVE_STEP_MS, untilMs, LIVE_STEP_MS);
  }

  /** Goes on in steps of live, and at once when a fault begins or ends, until it is stopped. */
  async live(): Promise<void> {
    while (!this.#isStopped) {
      const pause = this.#lastMs + LIVE_STEP_MS - Date.now();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, Math.max(0, pause));
      });
      const at = Date.now();
      if (at - this.#lastMs < STEP_MS_MIN) await sleep(STEP_MS_MIN - (at - this.#lastMs));
      if (this.#isStopped) return;
      try {
        await this.#send([Date.now()]);
      } catch (error) {
        // log_unavailable, or nobody listens any more: stopping, or it is tried again with the next step.
        if (this.#isStopped) return;
        process.stderr.write(`Not sent: ${(error as Error).message}\n`);
        await sleep(LIVE_STEP_MS);
      }
    }
  }

  wake(): void {
    this.#wake?.();
  }

  stop(): void {
    this.#isStopped = true;
    this.wake();
  }

  /** The shop had its troubles before, and the page has something to show of them. */
  #planHistory(end: number): void {
    const plan = (name: FaultName, agoMs: number, lengthMs: number) =>
      this.faults.plan(name, { fromMs: end - agoMs, untilMs: end - agoMs + lengthMs });
    plan('traffic-surge', 4 * DAY_MS, 25 * 60_000);
    plan('latency-step', 2 * DAY_MS + 3 * HOUR_MS, 15 * 60_000);
    plan('memory-leak', 5 * HOUR_MS, 20 * 60_000);
    this.faults.set('latency-step', true, end - FIRST_FAULT_MS);
  }

  async #sendSteps(fromMs: number, untilMs: number, stepMs: number): Promise<number> {
    let samples = 0;
    for (let at = fromMs; at <= untilMs; ) {
      const times: number[] = [];
      for (; times.length < STEPS_PER_REQUEST && at <= untilMs; at += stepMs) times.push(at);
      samples += await this.#send(times);
    }
    return samples;
  }

  async #send(times: readonly number[]): Promise<number> {
    const { series } = this.#shop;
    const bodies = series.map(({ labels }) => ({
      labels,
      samples: [] as { timestampMs: number; value: number }[],
    }));
    for (const timestampMs of times) {
      const moment = this.#shop.momentAt(timestampMs, this.faults);
      for (const [index, { next }] of series.entries()) {
        const value = next(moment);
        if (value !== undefined) bodies[index]?.samples.push({ timestampMs, value });
      }
      this.#lastMs = timestampMs;
    }
    await remoteWrite(
      this.#url,
      bodies.filter(({ samples }) => samples.length > 0),
    );
    return bodies.reduce((sum, { samples }) => sum + samples.length, 0);
  }
}
