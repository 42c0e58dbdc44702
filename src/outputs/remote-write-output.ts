// Sends the anomaly gauges to databases, as a scrape of /metrics/anomalies would show them: every so often all that are
// shown, with the time of the look. It runs where the gauges are: each scorer sends those of its own partitions, so
// nobody has to elect a sender. What is no longer shown gets a stale marker, unless its partition went to another
// scorer, which goes on with it.

import type { Logger } from '../http-server.js';
import { OUTPUT_BATCH_SAMPLES, OUTPUT_DRAIN_MS_MAX } from '../limits-outputs.js';
import type { Label } from '../series.js';
import { BodyWriter, bitsOf, encodeLabels, STALE_BITS } from './remote-write-body.js';
import type { RemoteWriteTarget } from './remote-write-target.js';

/** The gauges, as outputs see them. */
export interface GaugeFeed {
  /** Called before each look: who is shown may be a choice that takes time. */
  seat?(): Promise<void>;
  shownTo(tenant: string): Iterable<{
    key: string;
    labels: readonly Label[];
    values: readonly (readonly [gauge: string, value: number])[];
    isOurs(): boolean;
  }>;
}

export interface OutputParts {
  feed: GaugeFeed;
  target: RemoteWriteTarget;
  tenant: string;
  everyMs: number;
  clock: () => number;
  logger: Logger;
}

/** A series as it was last sent. */
interface Sent {
  /** Encoded, by gauge. */
  labels: Map<string, Uint8Array>;
  isOurs: () => boolean;
  round: number;
}

export class RemoteWriteOutput {
  readonly #parts: OutputParts;
  readonly #sent = new Map<string, Sent>();
  #round = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(parts: OutputParts) {
    this.#parts = parts;
  }

  /** `fail` hears of programmer errors alone. */
  start(fail: (error: unknown) => void): void {
    const { everyMs } = this.#parts;
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() => this.look()).catch(fail);
    }, everyMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#looking;
    await this.#parts.target.stop(OUTPUT_DRAIN_MS_MAX);
  }

  /** Hands everything that is shown now to the target. */
  async look(): Promise<void> {
    if (this.#isStopped) return;
    const { feed, tenant, clock } = this.#parts;
    await feed.seat?.();
    const round = ++this.#round;
    // A clock that was set back must not put samples out of order.
    const timestampMs = Math.max(Math.floor(clock()), this.#lastMs + 1);
    this.#lastMs = timestampMs;
    const body = new BodyWriter();
    for (const { key, labels, values, isOurs } of feed.shownTo(tenant)) {
      const sent = this.#sent.get(key) ?? { labels: new Map<string, Uint8Array>(), isOurs, round };
      sent.round = round;
      sent.isOurs = isOurs;
      this.#sent.set(key, sent);
      for (const [gauge, value] of values) {
        if (Number.isNaN(value)) continue;
        let encoded = sent.labels.get(gauge);
        if (encoded === undefined) {
          encoded = encodeLabels(gauge, labels);
          sent.labels.set(gauge, encoded);
        }
        body.add(encoded, { bits: bitsOf(value), timestampMs });
      }
      if (body.count >= OUTPUT_BATCH_SAMPLES - values.length) await this.#hand(body);
    }
    for (const [key, { labels, isOurs, round: last }] of this.#sent) {
      if (last === round) continue;
      this.#sent.delete(key);
      if (!isOurs()) continue;
      for (const encoded of labels.values()) body.add(encoded, { bits: STALE_BITS, timestampMs });
      if (body.count >= OUTPUT_BATCH_SAMPLES - labels.size) await this.#hand(body);
    }
    if (body.count > 0) await this.#hand(body);
  }

  /** Others have their turn meanwhile. */
  async #hand(body: BodyWriter): Promise<void> {
    this.#parts.target.add(await body.take());
    await new Promise((turn) => setImmediate(turn));
  }
}
