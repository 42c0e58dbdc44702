// A cold partition reads the log of history to its fence before its first sample, and arrives where it would have arrived
// had everything come as samples, whatever is stopped or lost in between.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { encodeMark, type HistoryMark, isMark, markOf, shareOf } from '../src/history-mark.js';
import type { Logger } from '../src/http-server.js';
import type { Topic } from '../src/log/log.js';
import { createMetrics } from '../src/metrics.js';
import { listCheckpoints } from '../src/scorer/checkpoint.js';
import type { HistorySettings } from '../src/scorer/history.js';
import { Scorer } from '../src/scorer/scorer.js';
import type { PartitionStatus } from '../src/scorer/scorer-parts.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryLog } from './memory-log.js';
import { MemoryStore, type Versioned } from './memory-store.js';
import { randomOf } from './random.js';

const BEGIN = 1_760_000_000_000;
const MINUTE = 60_000;
const SERIES = 20;
const HISTORY = 600;
const LIVE = 60;
const { module } = loadWasm('forest');

/** One step of all series, a record each: 600 of history, 60 live ones behind. */
const steps = (() => {
  const random = randomOf(5);
  const bits = new DataView(new ArrayBuffer(8));
  return Array.from({ length: HISTORY + LIVE }, (_, step) => {
    const at = BEGIN + step * MINUTE;
    const names = Array.from({ length: SERIES }, (_, series) => `g${series}`);
    return toBinary(
      SampleBlockSchema,
      create(SampleBlockSchema, {
        fingerprint: names.map((_, series) => BigInt(1_000 + series)),
        timestampMs: names.map(() => BigInt(at)),
        valueBits: names.map((_, series) => {
          const isFault = series === 7 && step >= 500 && step < 510;
          bits.setFloat64(0, 50 + random() + random() + (isFault ? 40 : 0));
          return bits.getBigUint64(0);
        }),
        series:
          step % 10 === 0
            ? names.map((name, series) => ({
                fingerprint: BigInt(1_000 + series),
                label: [{ name: '__name__', value: name }],
              }))
            : [],
      }),
    );
  });
})();
const history = steps.slice(0, HISTORY);
const live = steps.slice(HISTORY);

const range = { startMs: BEGIN, endMs: BEGIN + (HISTORY - 1) * MINUTE, doneMs: BEGIN };
const markWith = (mark: Partial<HistoryMark>): Uint8Array =>
  encodeMark({ kind: 'progress', filler: 'ab'.repeat(16), claimOffset: 0, ...range, ...mark });
const claim = markWith({ kind: 'claim' });
const fence = markWith({ kind: 'fence', end: 'complete' });

function scorerOn(
  log: MemoryLog,
  entries: Map<string, Versioned>,
  options: { history?: HistorySettings; checkpointMs?: number } = {},
) {
  const { checkpointMs = 3_600_000 } = options;
  const metrics = createMetrics('0');
  const said: string[] = [];
  const say = (_fields: object, message: string) => {
    said.push(message);
  };
  const logger: Logger = { debug() {}, info: say, warn: say, error: say };
  const trims: number[] = [];
  const scorer = new Scorer({
    log,
    store: new MemoryStore(entries),
    createForest: (slots) => new WasmForest(module, { seriesMax: slots, seed: 1 }),
    engineId: Buffer.alloc(32),
    ...{ metrics, logger, clock: Date.now },
    trim: async (_partition, _keepFrom, historyFrom) => {
      trims.push(historyFrom);
    },
    settings: {
      ...{ seriesMax: 100, seed: 1, checkpointMs },
      gauges: { scores: 'flagged', lingerMs: 0 },
      ...(options.history !== undefined && { history: options.history }),
    },
  });
  return { scorer, metrics, said, trims };
}

async function logOf(contents: Partial<Record<Topic, readonly Uint8Array[]>>): Promise<MemoryLog> {
  const log = new MemoryLog(1);
  for (const [topic, records] of Object.entries(contents)) {
    for (const value of records) await log.append(topic as Topic, 0, value, SERIES);
  }
  return log;
}

async function until<T>(probe: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    await new Promise((turn) => setTimeout(turn, 5));
  }
}

function rest(scorer: Scorer): Promise<PartitionStatus> {
  return until(async () => {
    const [row] = await scorer.status(true);
    if (scorer.unready() !== undefined || row?.lag !== 0 || row.stateHash === null) return;
    return row;
  });
}

/** In the middle of history: so many steps are applied, and the state stands behind them. */
function untilApplied(scorer: Scorer, count: number): Promise<true> {
  return until(async () => {
    const [row] = await scorer.status(true);
    const isThere = row?.outcomes['applied'] === count * SERIES && row.stateHash !== null;
    return isThere ? true : undefined;
  });
}

async function restOf(log: MemoryLog): Promise<PartitionStatus> {
  const { scorer } = scorerOn(log, new Map());
  await scorer.start();
  const row = await rest(scorer);
  await scorer.stop();
  return row;
}

const candidatesOf = (log: MemoryLog) => log.remains.lanes.get('candidates/0')?.records ?? [];

test('history before the samples leads to the state of the same blocks among the samples', async () => {
  const mixed = await logOf({ samples: [...history, ...live] });
  const want = await restOf(mixed);
  const log = await logOf({ backfill: [claim, ...history, fence], samples: live });
  const got = await restOf(log);
  expect(got.stateHash).toBe(want.stateHash);
  expect(got.outcomes).toEqual(want.outcomes);
  expect(got.offset).toBe(LIVE);
  expect(candidatesOf(log)).toEqual(candidatesOf(mixed));
  expect(candidatesOf(log).length).toBeGreaterThan(0);
});

test('what lies behind the fence, and what says only how far it is, changes nothing', async () => {
  const half = history.slice(0, 300);
  const plain = await restOf(await logOf({ backfill: [...half, fence] }));
  const told = half.flatMap((block, step) => (step % 50 === 0 ? [block, markWith({})] : [block]));
  const log = await logOf({ backfill: [claim, claim, ...told, fence, ...history, fence] });
  expect((await restOf(log)).stateHash).toBe(plain.stateHash);
});

/** A scorer that has read so many steps of a history that is still being written, and what it must come to. */
async function inHistory(count: number) {
  const want = await restOf(await logOf({ samples: steps }));
  const entries = new Map<string, Versioned>();
  const log = await logOf({ backfill: [claim, ...history.slice(0, count)], samples: live });
  const expected = { isExpected: true, silenceMs: 60_000 };
  const first = scorerOn(log, entries, { history: expected });
  await first.scorer.start();
  await untilApplied(first.scorer, count);
  return { want, entries, log, expected, first };
}

test('stopped or killed in the middle of history, it goes on and applies nothing twice', async () => {
  const { want, entries, log, expected, first } = await inHistory(200);
  expect(first.scorer.unready()).toMatch(/^reading history of partition 0: \d+ %$/);
  await first.scorer.stop();
  const store = new MemoryStore(entries);
  expect(await listCheckpoints(store, 0)).toEqual([]);
  expect(await listCheckpoints(store, 0, 'history')).toEqual([201]);

  for (const block of history.slice(200, 400)) await log.append('backfill', 0, block, SERIES);
  const second = scorerOn(log, entries, { history: expected, checkpointMs: 1 });
  await second.scorer.start();
  await until(async () => {
    const offsets = await listCheckpoints(store, 0, 'history');
    return offsets.includes(401) ? true : undefined;
  });
  // As kill -9 leaves it: what this one saves at its end is not among these.
  const killed = new Map(entries);
  await second.scorer.stop();

  for (const block of [...history.slice(400), fence])
    await log.append('backfill', 0, block, SERIES);
  const third = scorerOn(log, killed, { history: expected, checkpointMs: 1 });
  await third.scorer.start();
  const got = await rest(third.scorer);
  expect([got.stateHash, got.outcomes]).toEqual([want.stateHash, want.outcomes]);
  const left = new MemoryStore(killed);
  await until(async () => {
    const samples = await listCheckpoints(left, 0);
    return samples[0] === LIVE ? true : undefined;
  });
  await third.scorer.stop();
  expect((await listCheckpoints(left, 0)).length).toBeGreaterThan(0);

  // Enough of those that stand behind the history: none of the others is kept, and its log may go.
  for (let extra = 0; extra < 3; extra++) {
    await log.append('samples', 0, markless(extra), 1);
    const next = scorerOn(log, killed);
    await next.scorer.start();
    await rest(next.scorer);
    await next.scorer.stop();
    if (extra === 2) expect(next.trims.at(-1)).toBe(HISTORY + 2);
  }
  expect(await listCheckpoints(left, 0, 'history')).toEqual([]);
});

/** One more live sample. */
function markless(extra: number): Uint8Array {
  return toBinary(
    SampleBlockSchema,
    create(SampleBlockSchema, {
      fingerprint: [1_000n],
      timestampMs: [BigInt(BEGIN + (HISTORY + LIVE + extra) * MINUTE)],
      valueBits: [0x4049000000000000n],
    }),
  );
}

test('a damaged checkpoint in the middle of history is passed over, and history begins anew', async () => {
  const { want, entries, log, expected, first } = await inHistory(200);
  await first.scorer.stop();
  const chunk = [...entries.keys()].find((key) => key.endsWith('/000000')) as string;
  entries.set(chunk, { value: Buffer.from('damaged'), version: -1 });
  for (const block of [...history.slice(200), fence])
    await log.append('backfill', 0, block, SERIES);
  const second = scorerOn(log, entries, { history: expected });
  await second.scorer.start();
  expect((await rest(second.scorer)).stateHash).toBe(want.stateHash);
  expect(second.said).toContain('A checkpoint cannot be used; trying an older one');
  await second.scorer.stop();
});

test('an empty log of history is waited for only where it is expected', async () => {
  const log = await logOf({ samples: live });
  const plain = scorerOn(log, new Map());
  await plain.scorer.start();
  const want = await rest(plain.scorer);
  await plain.scorer.stop();
  expect(want.outcomes['applied']).toBe(SERIES * LIVE);

  const expecting = scorerOn(log, new Map(), { history: { isExpected: true, silenceMs: 60_000 } });
  await expecting.scorer.start();
  await until(async () => (expecting.scorer.unready()?.includes('history') ? true : undefined));
  await log.append('backfill', 0, markWith({ kind: 'fence', end: 'empty' }), 0);
  expect((await rest(expecting.scorer)).stateHash).toBe(want.stateHash);
  expect(await expecting.metrics.text()).toContain('treeline_history_ends_total{end="empty"} 1');
  await expecting.scorer.stop();
});

test('when nobody writes any more, the reader ends the history itself, and a replay ends there too', async () => {
  const log = await logOf({ backfill: [claim, ...history.slice(0, 300)], samples: live });
  const { scorer, said, metrics } = scorerOn(log, new Map(), {
    history: { isExpected: false, silenceMs: 40 },
  });
  await scorer.start();
  const got = await rest(scorer);
  await scorer.stop();
  expect(said).toContain('Nobody writes history any more; detection begins with what there is');
  expect(await metrics.text()).toContain('treeline_history_ends_total{end="silent"} 1');
  const last = log.remains.lanes.get('backfill/0')?.records.at(-1) as Uint8Array;
  expect(markOf(last)).toMatchObject({ kind: 'fence', end: 'silent', filler: '', ...range });
  // A filler that comes back late writes behind the fence.
  for (const block of history.slice(300)) await log.append('backfill', 0, block, SERIES);
  expect((await restOf(log)).stateHash).toBe(got.stateHash);
});

test('an embedded log that nobody will continue is read to its end at once', async () => {
  const log = await logOf({ backfill: [claim, ...history.slice(0, 300)], samples: live });
  const { scorer } = scorerOn(log, new Map(), { history: { isExpected: false, silenceMs: 0 } });
  await scorer.start();
  expect((await rest(scorer)).outcomes['applied']).toBe(SERIES * (300 + LIVE));
  await scorer.stop();
});

test('a partition that has scored samples never reads history', async () => {
  const entries = new Map<string, Versioned>();
  const log = await logOf({ samples: live });
  const first = scorerOn(log, entries);
  await first.scorer.start();
  const want = await rest(first.scorer);
  await first.scorer.stop();
  for (const block of [...history, fence]) await log.append('backfill', 0, block, SERIES);
  const second = scorerOn(log, entries, { history: { isExpected: true, silenceMs: 60_000 } });
  await second.scorer.start();
  expect((await rest(second.scorer)).stateHash).toBe(want.stateHash);
  await second.scorer.stop();
});

test('a program that ran before any sample came does not keep history out', async () => {
  const want = await restOf(await logOf({ samples: steps }));
  const entries = new Map<string, Versioned>();
  const log = new MemoryLog(1);
  const idle = scorerOn(log, entries);
  await idle.scorer.start();
  await rest(idle.scorer);
  await idle.scorer.stop();
  expect(await listCheckpoints(new MemoryStore(entries), 0)).toEqual([0]);
  for (const block of [claim, ...history, fence]) await log.append('backfill', 0, block, SERIES);
  for (const block of live) await log.append('samples', 0, block, SERIES);
  const { scorer } = scorerOn(log, entries);
  await scorer.start();
  expect((await rest(scorer)).stateHash).toBe(want.stateHash);
  await scorer.stop();
});

test('history that retention has deleted is counted, and all of it gone is none', async () => {
  const log = await logOf({ backfill: [claim, ...history, fence], samples: live });
  log.deleteBelow('backfill', 0, 101);
  const part = scorerOn(log, new Map());
  await part.scorer.start();
  const row = await rest(part.scorer);
  expect(row.outcomes['applied']).toBe(SERIES * (HISTORY - 100 + LIVE));
  const counted = 'treeline_log_gap_records_total{topic="backfill",partition="0"} 101';
  expect(await part.metrics.text()).toContain(counted);
  await part.scorer.stop();
  log.deleteBelow('backfill', 0, HISTORY + 2);
  expect((await restOf(log)).outcomes['applied']).toBe(SERIES * LIVE);
});

test('a record of history that cannot be read is left out and counted', async () => {
  const broken = Uint8Array.from([0x12, 0x08, 1, 2, 3]);
  const log = await logOf({ backfill: [...history.slice(0, 50), broken, fence] });
  const { scorer, metrics } = scorerOn(log, new Map());
  onTestFinished(() => scorer.stop());
  await scorer.start();
  expect((await rest(scorer)).outcomes['applied']).toBe(SERIES * 50);
  const counted = 'treeline_log_unreadable_records_total{topic="backfill",partition="0"} 1';
  expect(await metrics.text()).toContain(counted);
});

test('a mark is told from samples by its first byte, and one that cannot be read marks nothing', () => {
  const ok = (mark: Partial<HistoryMark>) => {
    const record = markWith(mark);
    expect(isMark(record)).toBe(true);
    expect(markOf(record)).toEqual({
      ...{ kind: 'progress', filler: 'ab'.repeat(16), claimOffset: 0, ...range },
      ...mark,
    });
    expect(fromBinary(SampleBlockSchema, record).history).toBeDefined();
  };
  ok({});
  ok({ kind: 'claim', claimOffset: 12_345 });
  ok({ kind: 'fence', end: 'given_up', doneMs: range.endMs });
  ok({ startMs: -1, endMs: 0, doneMs: -60_001, filler: '' });
  for (const block of steps.slice(0, 20))
    expect([isMark(block), markOf(block)]).toEqual([false, undefined]);
  const cut = claim.subarray(0, claim.length - 3);
  expect([isMark(cut), markOf(cut)]).toEqual([true, undefined]);
  const newer = toBinary(
    SampleBlockSchema,
    create(SampleBlockSchema, { history: { kind: 9 as 1 } }),
  );
  expect([isMark(newer), markOf(newer)]).toEqual([true, undefined]);
  const share = (doneMs: number) => shareOf({ startMs: 0, endMs: 200, doneMs });
  expect([share(-10), share(50), share(200), share(999)]).toEqual([0, 0.25, 1, 1]);
});

test('a mark in the samples log is no sample: its partition stands still', async () => {
  const log = await logOf({ samples: [...live, fence] });
  const { scorer } = scorerOn(log, new Map());
  await scorer.start();
  await until(async () => (scorer.unready()?.includes('stands still') ? true : undefined));
  await scorer.stop();
});
