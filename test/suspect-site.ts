// A scorer that keeps windows and waits for verdicts, over a log in memory, with a clock that stands still until it is moved.
// The next site may take the log and the store over, as a process does that starts again.

import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Candidate, CandidateSchema } from '../src/gen/candidate_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { Judgement, type Verdict, VerdictSchema } from '../src/gen/verdict_pb.js';
import type { Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { Scorer } from '../src/scorer/scorer.js';
import type { PartitionStatus } from '../src/scorer/scorer-parts.js';
import { findSeries, type SeriesRow } from '../src/scorer/series-view.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { randomOf } from './random.js';
import { parseMetrics, readingOf } from './treeline-process.js';

export const BEGIN = 1_760_000_000_000;
export const MINUTE = 60_000;
const { module } = loadWasm('forest');

export interface SuspectSite {
  scorer: Scorer;
  log: MemoryLog;
  entries: Map<string, Versioned>;
  warnings: string[];
  /** Everything logged is scored, and every verdict read. */
  untilRead(): Promise<PartitionStatus>;
  passMs(ms: number): void;
  /** `anomaly_flag` of a series; undefined when it is not shown. */
  flag(name: string): number | undefined;
  rate(): number | undefined;
  row(name: string): SeriesRow | undefined;
  metric(name: string, labels?: Record<string, string>): Promise<number>;
}

export function openSuspects(options: {
  after?: Pick<SuspectSite, 'log' | 'entries'>;
  hasWindows?: boolean;
  waitMs?: number;
  seriesMax?: number;
  checkpointMs?: number;
}): SuspectSite {
  const { after, hasWindows = true, waitMs, seriesMax = 2000, checkpointMs = 3_600_000 } = options;
  const log = new MemoryLog(1, after?.log.remains);
  const entries = after?.entries ?? new Map<string, Versioned>();
  const metrics = createMetrics('0');
  const warnings: string[] = [];
  const note = (_fields: object, message: string) => warnings.push(message);
  const logger: Logger = { debug() {}, info() {}, warn: note, error: note };
  let now = 0;
  const scorer = new Scorer({
    ...{ log, metrics, logger, store: new MemoryStore(entries), clock: () => now },
    createForest: (slots) => new WasmForest(module, { seriesMax: slots, seed: 1, hasWindows }),
    engineId: Buffer.alloc(32),
    trim: async () => {},
    settings: {
      ...{ seriesMax, seed: 1, checkpointMs },
      gauges: { scores: 'flagged', lingerMs: 0 },
      ...(waitMs !== undefined && { verdictWaitMs: waitMs }),
    },
  });
  const exposition = () =>
    [...scorer.gauges.lines({ isUtf8: false, matches: () => true, tenant: '' })].join('');
  return {
    ...{ scorer, log, entries, warnings },
    passMs: (ms) => {
      now += ms;
    },
    async untilRead() {
      for (;;) {
        const [row] = await scorer.status(true);
        const isDone = scorer.unready() === undefined && row?.lag === 0 && row.stateHash !== null;
        // A turn more for what was just appended to the other topics.
        for (let turn = 0; turn < 4; turn++) await new Promise((next) => setImmediate(next));
        if (isDone && row !== undefined) return row;
      }
    },
    flag: (name) => numberOf(exposition(), `anomaly_flag{source_metric="${name}"`),
    rate: () => numberOf(exposition(), 'anomaly_rate{'),
    row: (name) =>
      findSeries(
        scorer.partitions(),
        { fingerprint: fingerprintOf(name).toString(16).padStart(16, '0'), tenant: '' },
        scorer.overlay,
      ),
    metric: async (name, labels) =>
      readingOf(parseMetrics(await metrics.text()), name, labels) ?? 0,
  };
}

/** Gauges g0, g1, … around 50, counters c0_total, …; a series may be lifted for some minutes. */
export function fleet(
  gauges: number,
  counters = 0,
  seed = 1,
  { prefix = 'g', fromMinute = 0 }: { prefix?: string; fromMinute?: number } = {},
) {
  const random = randomOf(seed);
  const names = [
    ...Array.from({ length: gauges }, (_, i) => `${prefix}${i}`),
    ...Array.from({ length: counters }, (_, i) => `c${i}_total`),
  ];
  const totals = new Map<string, number>();
  let minute = fromMinute;
  const next = (lifted: Readonly<Record<string, number>> = {}): Uint8Array => {
    const bits = new DataView(new ArrayBuffer(8));
    const values = names.map((name) => {
      const value = 50 + random() + random() + random() + (lifted[name] ?? 0);
      const shown = name.endsWith('_total') ? (totals.get(name) ?? 0) + value : value;
      totals.set(name, shown);
      bits.setFloat64(0, shown);
      return bits.getBigUint64(0);
    });
    const block = create(SampleBlockSchema, {
      fingerprint: names.map(fingerprintOf),
      timestampMs: names.map(() => BigInt(BEGIN + minute * MINUTE)),
      valueBits: values,
      series:
        minute % 10 === 0
          ? names.map((name) => ({
              fingerprint: fingerprintOf(name),
              label: [
                { name: '__name__', value: name },
                { name: 'job', value: 'test' },
              ],
            }))
          : [],
    });
    minute++;
    return toBinary(SampleBlockSchema, block);
  };
  return {
    /** Appends so many minutes. */
    async run(log: MemoryLog, minutes: number, lifted?: Readonly<Record<string, number>>) {
      for (let i = 0; i < minutes; i++) await log.append('samples', 0, next(lifted), 0);
    },
  };
}

export function candidatesIn(log: MemoryLog): Candidate[] {
  const records = log.remains.lanes.get('candidates/0')?.records ?? [];
  return records.map((bytes) => fromBinary(CandidateSchema, bytes));
}

export type VerdictFields = Exclude<MessageInitShape<typeof VerdictSchema>, Verdict>;

export function verdictOn(
  candidate: Pick<Candidate, 'tenant' | 'fingerprint' | 'timestampMs' | 'onsetMs'>,
  outcome: Judgement,
  fields: VerdictFields = {},
): Uint8Array {
  const { tenant, fingerprint, timestampMs, onsetMs } = candidate;
  const keys = { tenant, fingerprint, timestampMs, onsetMs };
  const model = outcome === Judgement.UNCHECKED ? '' : 'nano';
  return toBinary(VerdictSchema, create(VerdictSchema, { ...keys, outcome, model, ...fields }));
}

export function fingerprintOf(name: string): bigint {
  const sum = Buffer.from(name).reduce((hash, byte) => hash * 257 + byte, 7);
  return BigInt.asUintN(64, BigInt(sum) * 0x9e3779b97f4a7c15n);
}

function numberOf(text: string, begin: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(begin));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
}
