// An installation for tests of moving learnt state: the real decoder, a log and a state store, and the real scorer, with
// as many partitions as wanted; and a fleet of every kind of series that sends to it. What an installation has learnt can
// be taken out as the bytes of a state file and put into another one.

import { createHash } from 'node:crypto';
import { seriesPlacement } from '../src/cli/state-placement.js';
import type { Logger } from '../src/http-server.js';
import type { Log } from '../src/log/log.js';
import { createMetrics } from '../src/metrics.js';
import { WasmDecoder } from '../src/receiver/wasm-decoder.js';
import type { DetectorSet } from '../src/scorer/detectors.js';
import { Scorer } from '../src/scorer/scorer.js';
import { exportState, type RecordLayout } from '../src/scorer/state-export.js';
import type { StateRow } from '../src/scorer/state-file.js';
import { readStateFile, type StateFileSource } from '../src/scorer/state-file-reader.js';
import { type ImportReport, importState } from '../src/scorer/state-import.js';
import type { PlaceSeries } from '../src/scorer/state-survey.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import type { StateStore } from '../src/state/state-store.js';
import { loadWasm } from '../src/wasm-files.js';
import { BOUNDS, durationOf } from './histogram-scrapes.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore } from './memory-store.js';
import { randomOf } from './random.js';
import { writeBodyV2 } from './remote-write-sender.js';
import type { SeriesV2 } from './write-request-v2.js';

export const PARTITION_BY = [['namespace', 'pod'], ['instance']];
export const BEGIN = 1_760_000_000_000;
export const MINUTE = 60_000;
const SERIES_MAX = 500;
const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const forest = loadWasm('forest');
const decode = loadWasm('decode');

export const layout: RecordLayout = (() => {
  const { recordFormat, recordBytes } = new WasmForest(forest.module, { seriesMax: 1, seed: 1 });
  const engineId = createHash('sha256').update(forest.bytes).digest();
  return { recordFormat, recordBytes, seed: 1, engineId };
})();

export class Installation {
  readonly log: Log;
  readonly store: StateStore;
  readonly partitionBy: string[][];
  readonly #decoder: WasmDecoder;
  readonly #place: PlaceSeries;
  readonly #detectors: DetectorSet | undefined;

  constructor(
    partitions: number,
    options: {
      partitionBy?: string[][];
      store?: StateStore;
      log?: Log;
      detectors?: DetectorSet;
    } = {},
  ) {
    this.#detectors = options.detectors;
    this.partitionBy = options.partitionBy ?? PARTITION_BY;
    this.log = options.log ?? new MemoryLog(partitions);
    this.store = options.store ?? new MemoryStore();
    this.#decoder = new WasmDecoder(decode.module, {
      partitions,
      partitionBy: this.partitionBy,
      stripLabels: [],
      classify: () => 'keep',
    });
    this.#place = seriesPlacement(partitions, this.partitionBy);
  }

  async send(
    series: readonly SeriesV2[],
    { tenant = '', nowMs = BEGIN + 400 * 24 * 60 * MINUTE } = {},
  ): Promise<void> {
    const body = writeBodyV2(series);
    this.#decoder.input(body.length).set(body);
    const options = { tenant, nowMs, version: 2 as const };
    const { blocks, rejectedCount } = this.#decoder.decode(body.length, options);
    if (rejectedCount > 0) throw new Error(`${rejectedCount} samples were rejected`);
    await Promise.all(
      blocks.map(({ partition, bytes, samples }) =>
        this.log.append('samples', partition, bytes, samples),
      ),
    );
  }

  /** The scorer reads all that is logged, saves its state and stops. */
  async learn(): Promise<void> {
    const scorer = new Scorer({
      ...(this.#detectors !== undefined && { detectors: this.#detectors }),
      log: this.log,
      store: this.store,
      createForest: (seriesMax) => new WasmForest(forest.module, { seriesMax, seed: 1 }),
      engineId: layout.engineId,
      metrics: createMetrics('0'),
      logger: quiet,
      clock: () => BEGIN,
      trim: async () => {},
      settings: {
        seriesMax: SERIES_MAX,
        seed: 1,
        checkpointMs: 3_600_000,
        gauges: { scores: 'flagged', lingerMs: 0 },
      },
    });
    await scorer.start();
    for (;;) {
      const rows = await scorer.status(false);
      const isDone = scorer.unready() === undefined && rows.every(({ lag }) => lag === 0);
      if (isDone) break;
      await new Promise((turn) => setTimeout(turn, 2));
    }
    await scorer.stop();
  }

  /** Every candidate so far, each once, in a fixed order. */
  candidates(): Buffer[] {
    if (!(this.log instanceof MemoryLog)) throw new TypeError('Only a log in memory is read back');
    const lanes = [...this.log.remains.lanes].filter(([name]) => name.startsWith('candidates/'));
    const all = lanes.flatMap(([, { records }]) => records.map((bytes) => Buffer.from(bytes)));
    const byBytes = new Map(all.map((bytes) => [bytes.toString('hex'), bytes]));
    return [...byBytes.values()].sort(Buffer.compare);
  }

  async export(): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    const { log, store, partitionBy } = this;
    await exportState({ log, store, layout, partitionBy, program: '0' }, async (bytes) => {
      parts.push(bytes);
    });
    return Buffer.concat(parts);
  }

  import(file: Buffer, options: { force?: boolean } = {}): Promise<ImportReport> {
    const { log, store } = this;
    return importState(sourceOf(file), { log, store, layout, place: this.#place }, options);
  }
}

/** In pieces of odd sizes, as a file system may give them. */
export function sourceOf(bytes: Buffer): StateFileSource {
  return {
    name: 'learnt.tls',
    async *read() {
      for (let at = 0; at < bytes.length; at += 70_001) yield bytes.subarray(at, at + 70_001);
    },
  };
}

export interface FileContents {
  /** By fingerprint. */
  rows: Map<string, StateRow>;
  histograms: number;
  learnt: string;
}

export async function contentsOf(file: Buffer): Promise<FileContents> {
  const contents: FileContents = { rows: new Map(), histograms: 0, learnt: '' };
  for await (const piece of readStateFile(sourceOf(file))) {
    if (piece.kind === 'rows') {
      for (const row of piece.rows) {
        const copy = {
          ...row,
          announcement: Uint8Array.from(row.announcement),
          record: Uint8Array.from(row.record),
        };
        contents.rows.set(`${row.high.toString(16)}:${row.low.toString(16)}`, copy);
      }
    }
    if (piece.kind === 'histograms') contents.histograms += piece.histograms.length;
    if (piece.kind === 'end') contents.learnt = Buffer.from(piece.end.learnt).toString('hex');
  }
  return contents;
}

const GAUGES = 24;

/** One scrape a minute of gauges, counters, histograms of both kinds, and series that are not scored. */
export function fleet(seed: number): (minute: number) => SeriesV2[] {
  const random = randomOf(seed);
  const totals = new Map<string, number>();
  const grow = (name: string, by: number) => {
    const total = (totals.get(name) ?? 0) + by;
    totals.set(name, total);
    return total;
  };
  return (minute) => {
    const timestampMs = BEGIN + minute * MINUTE;
    const one = (labels: Record<string, string>, value: number): SeriesV2 => ({
      labels,
      samples: [{ timestampMs, value }],
    });
    const series: SeriesV2[] = [];
    for (let i = 0; i < GAUGES; i++) {
      const value = 50 + 10 * Math.sin(minute / 230 + i) + random() + random() + random();
      // One fault after another, each a few minutes long.
      const fault = Math.floor(minute / 17) % GAUGES === i && minute % 17 < 4 ? 300 : 0;
      series.push(one({ __name__: `queue_${i}`, ...placeLabels(i) }, value + fault));
    }
    for (let i = 0; i < 8; i++) {
      const total = grow(`requests_${i}`, minute % 400 === 9 * i ? 90_000 : 600 + 60 * random());
      const labels = { __name__: 'requests_total', path: `/${i}`, ...placeLabels(i) };
      series.push({ ...one(labels, total), metadata: { type: 'counter' } });
    }
    for (let i = 0; i < 3; i++) {
      series.push(...classicHistogram(i, { timestampMs, random, grow }));
      series.push(nativeHistogram(i, { timestampMs, random, grow }));
    }
    series.push(one({ __name__: 'odd_bucket', le: 'wide', instance: 'a' }, minute));
    series.push(one({ __name__: 'ALERTS', alertname: 'x', instance: 'b' }, 1));
    return series;
  };
}

/** Every way to a partition: by namespace and pod, by instance, by the fingerprint. */
function placeLabels(i: number): Record<string, string> {
  if (i % 3 === 0) return { namespace: 'shop', pod: `web-${i % 9}` };
  return i % 3 === 1 ? { instance: `host-${i % 7}:9100`, job: 'node' } : { job: `batch-${i}` };
}

interface Drawing {
  timestampMs: number;
  random: () => number;
  grow: (name: string, by: number) => number;
}

function classicHistogram(i: number, { timestampMs, random, grow }: Drawing): SeriesV2[] {
  const instance = `host-${i}:8080`;
  for (let n = 0; n < 120; n++) {
    const duration = durationOf(random, { median: 0.04 });
    const bucket = BOUNDS.findIndex((bound) => duration <= bound);
    grow(`${instance} ${bucket < 0 ? BOUNDS.length : bucket}`, 1);
  }
  let sum = 0;
  return [...BOUNDS, '+Inf'].map((le, bucket) => {
    sum += grow(`${instance} ${bucket}`, 0);
    const labels = { __name__: 'http_seconds_bucket', instance, le: String(le) };
    return { labels, samples: [{ timestampMs, value: sum }], metadata: { type: 'histogram' } };
  });
}

function nativeHistogram(i: number, { timestampMs, random, grow }: Drawing): SeriesV2 {
  const name = `native ${i}`;
  const counts = [-3, -2, -1, 0, 1, 2].map((bucket) => {
    return grow(`${name} ${bucket}`, Math.round(20 + 10 * random() - 2 * Math.abs(bucket)));
  });
  return {
    labels: { __name__: 'rpc_seconds', namespace: 'shop', pod: `web-${i}` },
    metadata: { type: 'histogram' },
    histograms: [
      {
        timestampMs,
        schema: 1,
        sum: counts.reduce((a, b) => a + b),
        count: counts.reduce((a, b) => a + b),
        zeroThreshold: 1e-9,
        zeroCount: 0,
        positive: {
          spans: [[-3, counts.length]],
          deltas: counts.map((count, at) => count - (counts[at - 1] ?? 0)),
        },
      },
    ],
  };
}
