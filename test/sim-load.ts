// The senders of a simulated world and the receiver in front of its log: each sender has series of its own and sends
// their next samples only when the last request was acknowledged, as Prometheus does; requests are answered late, twice,
// or never, and are then sent again. What every sample was is kept, for the accounts.

import { create, toBinary } from '@bufbuild/protobuf';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import type { Log } from '../src/log/log.js';
import { wordOf } from './sim-words.js';
import { WORLD_BEGIN_MS, type World } from './sim-world.js';

export interface Point {
  series: number;
  at: number;
  value: number;
}

interface Named {
  number: number;
  name: string;
}

interface Series extends Named {
  partition: number;
  total: number;
  spikeFrom: number;
}

export interface LoadFaults {
  /** Of an answer that never reaches the sender although the samples are durable. */
  unanswered: number;
  /** Of a request that is delivered again, up to ten times, at any later time. */
  repeated: number;
  /** Of a record, from wherever, that nobody can read. */
  poison: number;
  /** Of something that people say, once for each scrape. */
  control: number;
}

/** A column that is cut off, one that has no others beside it, and a section of a newer version. */
const POISON = [
  [0x12, 0x08, 1],
  [0x12, 0x08, 1, 2, 3, 4, 5, 6, 7, 8],
  [0x4a, 0x01, 7],
].map((bytes) => Uint8Array.from(bytes));
const INTERVAL_MS = 15_000;
/** Samples before the first flag, and some days of trouble behind it, in ticks. */
const WARM_TICKS = 100;

export class SimLoad {
  /** Samples acknowledged, as `series at`. */
  readonly acknowledged = new Set<string>();
  readonly sent: Point[] = [];
  sendersLeft = 0;
  readonly #world: World;
  readonly #log: Log;
  readonly #faults: () => LoadFaults;
  readonly #announced = new Set<number>();
  #said = 0;

  constructor(world: World, log: Log, faults: () => LoadFaults) {
    this.#world = world;
    this.#log = log;
    this.#faults = faults;
  }

  /** `everyMs`: time of the world between two scrapes. */
  start(senders: number, options: { series: number; ticks: number; everyMs: number }): void {
    for (let sender = 0; sender < senders; sender++) {
      const series = Array.from({ length: options.series }, (_, index) => {
        const number = sender * options.series + index;
        const spikeFrom = WARM_TICKS + this.#world.int(options.ticks - WARM_TICKS - 8);
        const name = `s${number}${index % 3 === 0 ? '_total' : ''}`;
        return { number, name, partition: number % this.#log.partitions, total: 0, spikeFrom };
      });
      this.sendersLeft++;
      this.#world.after(this.#world.between(0, options.everyMs), () =>
        this.#scrape(series, 0, options),
      );
    }
  }

  #scrape(series: Series[], tick: number, options: { ticks: number; everyMs: number }): void {
    if (tick === options.ticks) {
      this.sendersLeft--;
      return;
    }
    const points = series.map((one) => this.#pointOf(one, tick));
    this.sent.push(...points);
    this.#send(series, points, () => {
      for (const { series: number, at } of points) this.acknowledged.add(`${number} ${at}`);
      this.#world.after(options.everyMs, () => this.#scrape(series, tick + 1, options));
    });
    if (this.#world.chance(this.#faults().poison)) {
      this.#world.count('unreadable record');
      const bytes = POISON[this.#world.int(POISON.length)] as Uint8Array;
      // Nobody waits for it.
      void this.#log.append('samples', series[0]?.partition ?? 0, bytes, 0).catch(() => {});
    }
    if (this.#world.chance(this.#faults().control)) void this.#say(tick);
    if (!this.#world.chance(this.#faults().repeated)) return;
    for (let again = 1 + this.#world.int(10); again > 0; again--) {
      this.#world.count('request delivered again');
      this.#world.after(this.#world.between(0, 3000), () => void this.#receive(series, points));
    }
  }

  /** A control record goes to every partition of its log, each until it is acknowledged. */
  async #say(tick: number): Promise<void> {
    this.#world.count('control record');
    const fingerprint = fingerprintOf(this.#world.int(12));
    const word = wordOf(this.#world, { tick, said: this.#said++, fingerprint });
    for (let partition = 0; partition < this.#log.partitions; ) {
      const append = this.#log.append('control', partition, word, 0);
      await append.then(
        () => partition++,
        () => this.#world.count('control record said again'),
      );
    }
  }

  #pointOf(one: Series, tick: number): Point {
    const world = this.#world;
    const noise = world.random() + world.random() + world.random();
    let value = 50 + 3 * noise;
    if (tick >= one.spikeFrom && tick < one.spikeFrom + 5) value += 400 * (1 + world.random());
    if (one.name.endsWith('_total')) {
      one.total += 15 * value;
      value = one.total;
    }
    return { series: one.number, at: WORLD_BEGIN_MS + tick * INTERVAL_MS, value };
  }

  /** Until it is acknowledged. */
  #send(series: Series[], points: Point[], onAcknowledged: () => void): void {
    const world = this.#world;
    void this.#receive(series, points).then((isDurable) => {
      const isHeard = !world.chance(this.#faults().unanswered);
      if (isDurable && !isHeard) world.count('receiver died before it answered');
      if (isDurable && isHeard) return onAcknowledged();
      world.after(world.between(30, 600), () => this.#send(series, points, onAcknowledged));
    });
  }

  /** A block for each partition; true when all of them are durable. */
  async #receive(series: Series[], points: Point[]): Promise<boolean> {
    const partitions = [...new Set(series.map(({ partition }) => partition))];
    const appends = partitions.map(async (partition) => {
      const own = series.flatMap((one, index) =>
        one.partition === partition ? [{ one, point: points[index] as Point }] : [],
      );
      const news = own.filter(
        ({ one }) => !this.#announced.has(one.number) || this.#world.chance(0.05),
      );
      const bytes = blockOf(own, news);
      await this.#log.append('samples', partition, bytes, own.length);
      for (const { one } of news) this.#announced.add(one.number);
    });
    const outcomes = await Promise.allSettled(appends);
    return outcomes.every(({ status }) => status === 'fulfilled');
  }
}

export function blockOf(
  rows: readonly { one: Named; point: Point }[],
  news: readonly { one: Named }[],
): Uint8Array {
  const bits = new DataView(new ArrayBuffer(8));
  return toBinary(
    SampleBlockSchema,
    create(SampleBlockSchema, {
      fingerprint: rows.map(({ one }) => fingerprintOf(one.number)),
      timestampMs: rows.map(({ point }) => BigInt(point.at)),
      valueBits: rows.map(({ point }) => {
        bits.setFloat64(0, point.value);
        return bits.getBigUint64(0);
      }),
      series: news.map(({ one }) => ({
        fingerprint: fingerprintOf(one.number),
        label: [
          { name: '__name__', value: one.name },
          { name: 'job', value: `job-${one.number % 2}` },
        ],
      })),
    }),
  );
}

/** Of a series by its number. */
export function fingerprintOf(number: number): bigint {
  return BigInt.asUintN(64, BigInt(number + 1) * 0x9e3779b97f4a7c15n);
}
