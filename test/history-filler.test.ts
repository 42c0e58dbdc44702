// Who fills the log of history, and how it ends: several processes on one log, one Prometheus that misbehaves, a clock
// that is not the wall's.

import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Filler, type FillerOutcome, type FillerParts } from '../src/backfill/filler.js';
import { HistoryLog } from '../src/backfill/history-log.js';
import { OperatingError } from '../src/errors.js';
import { MetricType, SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { encodeMark, type HistoryMark, isMark, markOf } from '../src/history-mark.js';
import type { Logger } from '../src/http-server.js';
import { HISTORY_SERIES_MAX } from '../src/limits-history.js';
import { createMetrics } from '../src/metrics.js';
import type { Pace } from '../src/pace.js';
import type { ApiReply, PrometheusApi } from '../src/prometheus-api.js';
import { HistoryIntake } from '../src/receiver/history-intake.js';
import { classifier, classify } from '../src/receiver/rules.js';
import { WasmDecoder } from '../src/receiver/wasm-decoder.js';
import { countSamples, readBlock } from '../src/sample-block.js';
import { loadWasm } from '../src/wasm-files.js';
import { MemoryLog } from './memory-log.js';

const PARTITIONS = 3;
const MINUTE = 60_000;
const NOW = 1_760_000_080_000;
const SERIES = 6;
const HOURS = 5;
const STEPS = HOURS * 60 + 1;
const { module } = loadWasm('decode');

/** Time that passes when nobody has anything else to do. */
class Hours implements Pace {
  nowMs = NOW;
  readonly #timers: { atMs: number; ring: () => void }[] = [];

  turn(): Promise<void> {
    return new Promise((turn) => setImmediate(turn));
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const ring = () => {
        signal.removeEventListener('abort', ring);
        resolve();
      };
      signal.addEventListener('abort', ring);
      this.#timers.push({ atMs: this.nowMs + ms, ring });
    });
  }

  every(ms: number, work: () => void): () => void {
    let isOver = false;
    const again = () => {
      if (isOver) return;
      work();
      this.#timers.push({ atMs: this.nowMs + ms, ring: again });
    };
    this.#timers.push({ atMs: this.nowMs + ms, ring: again });
    return () => {
      isOver = true;
    };
  }

  /** Lets time pass until `work` has come to its end. */
  async through<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    work.then(over, over);
    while (!isOver) {
      for (let turn = 0; turn < 100 && !isOver; turn++) await this.turn();
      this.#timers.sort((a, b) => a.atMs - b.atMs);
      const next = this.#timers.shift();
      if (next === undefined) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.ring();
    }
    return work;
  }
}

type Answer = (path: string, parameters: Readonly<Record<string, string>>) => ApiReply | undefined;

const answerOf = (value: unknown): ApiReply => ({ kind: 'answer', value, warnings: [] });
const away: ApiReply = {
  ...{ kind: 'away', status: 502, reason: 'it answers 502 without a word' },
  ...{ isLate: false, retryAfterMs: 0 },
};

/** Six series of one metric in two namespaces, unless `special` says otherwise. */
function prometheus(special: Answer = () => undefined): PrometheusApi & { asked: string[] } {
  const asked: string[] = [];
  return {
    address: 'http://prometheus:9090',
    asked,
    async ask(path, parameters = {}, options = {}) {
      options.signal?.throwIfAborted();
      asked.push(`${path} ${parameters['query'] ?? ''}`.trim());
      const said = special(path, parameters);
      if (said !== undefined) return said;
      if (path === 'status/config') return answerOf({ yaml: 'global: {}' });
      const metrics = Array.from({ length: SERIES }, (_, series) => ({
        ...{ __name__: 'load', namespace: `n${series % 2}`, pod: `p${series}` },
      }));
      if (path === 'query') {
        const isNamed = parameters['query']?.includes('by (__name__)') === true;
        const metric = isNamed ? { __name__: 'load' } : {};
        return answerOf({ resultType: 'vector', result: [{ metric, value: [0, `${SERIES}`] }] });
      }
      const [start, end, step] = ['start', 'end', 'step'].map((name) => Number(parameters[name]));
      const result = metrics.map((metric, series) => {
        const values: [number, string][] = [];
        for (let at = start!; at <= end! + 1e-6; at += step!) values.push([at, `${series + at}`]);
        return { metric, values };
      });
      return answerOf({ resultType: 'matrix', result });
    },
  };
}

interface Site {
  filler: Filler;
  said: string[];
  metrics: ReturnType<typeof createMetrics>;
  fill(): Promise<FillerOutcome>;
}

function fillerOn(
  log: MemoryLog,
  pace: Hours,
  api: PrometheusApi,
  options: Partial<FillerParts> & { keep?: string[] } = {},
): Site {
  const { keep = [], ...more } = options;
  const said: string[] = [];
  const say = (fields: { reason?: string }, message: string) => {
    said.push(fields.reason === undefined ? message : `${message}: ${fields.reason}`);
  };
  const logger: Logger = { debug() {}, info: say, warn: say, error: say };
  const metrics = createMetrics('0');
  const filler = new Filler({
    ...{ log, api, logger, pace, labels: [], tenant: '', hasExternalLabels: true },
    clock: () => pace.nowMs,
    wanted: {
      query: '',
      selectors: keep.length > 0 ? keep : ['{__name__!=""}'],
      isKept: (value) => classify([{ name: '__name__', value }]) === 'keep',
    },
    ...{ lookbackMs: HOURS * 60 * MINUTE, stepMs: MINUTE, waitMs: 15 * MINUTE, isAlone: false },
    ...{ logBytesMax: 1e9, logRetention: '1GB' },
    intakeOn: (append) => {
      const rules = classifier({ keep, drop: [] });
      const decoder = new WasmDecoder(module, {
        ...{ partitions: PARTITIONS, partitionBy: [['pod']], stripLabels: [], classify: rules },
      });
      return new HistoryIntake({ decoder, metrics, clock: () => pace.nowMs, append });
    },
    ...more,
  });
  const fill = async () => {
    await filler.begin();
    return filler.run();
  };
  return { filler, said, metrics, fill };
}

const recordsOf = (log: MemoryLog, partition: number): Uint8Array[] =>
  log.remains.lanes.get(`backfill/${partition}`)?.records ?? [];

/** Samples in front of the fences, and how each partition ends. */
function contentsOf(log: MemoryLog): { samples: number; ends: (string | undefined)[] } {
  let samples = 0;
  const ends = Array.from({ length: PARTITIONS }, (_, partition) => {
    const records = recordsOf(log, partition);
    const at = records.findIndex((record) => markOf(record)?.kind === 'fence');
    for (const record of records.slice(0, at < 0 ? undefined : at)) {
      if (!isMark(record)) samples += countSamples(readBlock(record));
    }
    return at < 0 ? undefined : markOf(records[at] as Uint8Array)?.end;
  });
  return { samples, ends };
}

/** That in every partition no step comes before one that is missing there: `steps` of them, in order. */
function timesOf(log: MemoryLog, partition: number): number[] {
  const times = new Set<number>();
  for (const record of recordsOf(log, partition)) {
    if (isMark(record)) continue;
    const { bytes, runs } = readBlock(record);
    for (const { timestampAt, count } of runs) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + timestampAt, 8 * count);
      for (let i = 0; i < count; i++) times.add(Number(view.getBigInt64(8 * i, true)));
    }
  }
  return [...times];
}

const whole = { samples: SERIES * STEPS, ends: ['complete', 'complete', 'complete'] };

test('one filler brings every step once, in order, and fences every partition', async () => {
  const [log, pace, api] = [new MemoryLog(PARTITIONS), new Hours(), prometheus()];
  const { fill, filler, metrics, said } = fillerOn(log, pace, api);
  expect(await pace.through(fill())).toBe('complete');
  expect(contentsOf(log)).toEqual(whole);
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const times = timesOf(log, partition);
    expect(times).toEqual(times.map((_, step) => NOW - 40_000 - (HOURS * 60 - step) * MINUTE));
  }
  expect([filler.share, filler.filling?.series, filler.filling?.points]).toEqual([
    ...[1, SERIES, SERIES * STEPS],
  ]);
  expect(await metrics.text()).toContain(`treeline_samples_received_total ${SERIES * STEPS}`);
  expect(said.at(-1)).toBe('The history is in the log');
  // The next start of any receiver has nothing to do, and asks nobody.
  const later = prometheus();
  expect(await pace.through(fillerOn(log, pace, later).fill())).toBe('elsewhere');
  expect(later.asked).toEqual([]);
});

test('of receivers that start at the same time one fills, and the others wait for its fence', async () => {
  const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
  const sites = [1, 2, 3].map(() => ({ api: prometheus() }));
  const fills = sites.map(({ api }) => fillerOn(log, pace, api).fill());
  const outcomes = await pace.through(Promise.all(fills));
  expect(outcomes.sort()).toEqual(['complete', 'elsewhere', 'elsewhere']);
  expect(sites.filter(({ api }) => api.asked.length > 0).length).toBe(1);
  expect(contentsOf(log)).toEqual(whole);
});

test('whoever dies in the middle is followed by another, up to the same end, and nothing is missing', async () => {
  const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
  const first = fillerOn(log, pace, prometheus());
  void pace.through(first.fill());
  await eventually(() => recordsOf(log, 1).filter((record) => !isMark(record)).length > 150);
  await first.filler.stop();
  const before = contentsOf(log);
  expect(before.ends).toEqual([undefined, undefined, undefined]);
  const startedMs = pace.nowMs;
  pace.nowMs += 7 * 60 * MINUTE;
  const second = fillerOn(log, pace, prometheus());
  expect(await pace.through(second.fill())).toBe('complete');
  expect(second.filler.isResumed).toBe(true);
  expect(pace.nowMs - startedMs).toBeGreaterThan(45_000);
  expect(contentsOf(log).ends).toEqual(whole.ends);
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const times = timesOf(log, partition);
    expect(times).toEqual(times.map((_, step) => NOW - 40_000 - (HOURS * 60 - step) * MINUTE));
    expect([0, STEPS]).toContain(times.length);
  }
  expect(contentsOf(log).samples).toBeGreaterThanOrEqual(whole.samples);
});

async function eventually(probe: () => boolean): Promise<void> {
  while (!probe()) await new Promise((turn) => setTimeout(turn, 2));
}

test('a claim counts at its own place only, and a filler that was slow finds the claim of the other', async () => {
  const log = new MemoryLog(PARTITIONS);
  const range = { startMs: 0, endMs: 10, doneMs: -1 };
  const [slow, quick] = [new HistoryLog(log), new HistoryLog(log)];
  const seen = await slow.look();
  expect(await quick.claim(await quick.look(), range)).toBe(true);
  expect(await slow.claim(seen, range)).toBe(false);
  // What does not count changes nothing for the one who fills.
  await quick.sayProgress({ ...range, doneMs: 3 });
  expect(quick.taken).toBeUndefined();
  expect(await slow.look()).toMatchObject({ isFenced: false, range: { ...range, doneMs: 3 } });
  expect(await slow.claim(await slow.look(), range)).toBe(true);
  await quick.append(1, encodeMark({ kind: 'progress', filler: '', claimOffset: 0, ...range }), 0);
  await expect(quick.sayProgress(range)).rejects.toThrow('Another process fills the history');
  await expect(quick.append(1, Uint8Array.from([1]), 0)).rejects.toThrow('Another process');
  await slow.sayProgress(range);
  await quick.fence('given_up');
  await expect(slow.sayProgress(range)).rejects.toThrow('The history was ended');
});

test('the newest word is found behind however many blocks', async () => {
  const log = new MemoryLog(PARTITIONS);
  const range = { startMs: 0, endMs: 10, doneMs: 4 };
  const writer = new HistoryLog(log);
  await writer.claim(await writer.look(), range);
  await Promise.all(
    Array.from({ length: 2_000 }, () => log.append('backfill', 0, Uint8Array.from([0x12, 0]), 0)),
  );
  expect(await new HistoryLog(log).look()).toEqual({
    high: 2_001,
    isFenced: false,
    range: { ...markOf(recordsOf(log, 0)[0] as Uint8Array) },
  });
  log.deleteBelow('backfill', 0, 1_000);
  expect(await new HistoryLog(log).look()).toMatchObject({ high: 2_001, range: undefined });
  log.deleteBelow('backfill', 0, 2_001);
  expect(await new HistoryLog(log).look()).toMatchObject({ isFenced: true });
});

test('samples that were logged before anybody wanted history keep it out', async () => {
  const [log, pace, api] = [new MemoryLog(PARTITIONS), new Hours(), prometheus()];
  await log.append('samples', 2, Uint8Array.from([0x0a, 0]), 1);
  const { fill, said } = fillerOn(log, pace, api);
  expect(await pace.through(fill())).toBe('too_late');
  expect(contentsOf(log)).toEqual({ samples: 0, ends: ['too_late', 'too_late', 'too_late'] });
  expect([api.asked.length, said.length]).toEqual([0, 1]);
});

test('a Prometheus that is away is asked again; one that stays away costs what it did not bring, and no more', async () => {
  const pace = new Hours();
  let answers = 0;
  const isAway: Answer = (path) => (path === 'query' && ++answers < 4 ? away : undefined);
  const log = new MemoryLog(PARTITIONS);
  const soon = fillerOn(log, pace, prometheus(isAway));
  expect(await pace.through(soon.fill())).toBe('complete');
  expect(contentsOf(log)).toEqual(whole);
  expect(soon.said[1]).toBe(
    'The history cannot be filled now; trying again: Cannot count the series of {__name__!=""} at ' +
      'http://prometheus:9090: it answers 502 without a word',
  );

  const never = new MemoryLog(PARTITIONS);
  const begunMs = pace.nowMs;
  const other = fillerOn(
    never,
    pace,
    prometheus(() => away),
  );
  expect(await pace.through(other.fill())).toBe('given_up');
  expect(pace.nowMs - begunMs).toBeGreaterThanOrEqual(15 * MINUTE);
  expect(pace.nowMs - begunMs).toBeLessThan(17 * MINUTE);
  expect(contentsOf(never)).toEqual({ samples: 0, ends: ['given_up', 'given_up', 'given_up'] });
  expect(other.said.at(-1)).toContain('could not be read for as long as backfill.wait');
});

test('what a Prometheus says instead of history is one sentence each, in the log and in readiness', async () => {
  const ok = async (special: Answer, text: string, options: Partial<FillerParts> = {}) => {
    const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
    const more = { waitMs: MINUTE, ...options };
    const { fill, filler } = fillerOn(log, pace, prometheus(special), more);
    expect(await pace.through(fill())).toBe('given_up');
    expect(filler.trouble).toContain(text);
    expect(filler.trouble).not.toContain('\n');
  };
  const refused = (status: number, reason: string): ApiReply => ({
    ...{ kind: 'refused', status, reason },
  });
  const ranged =
    (reply: ApiReply): Answer =>
    (path) =>
      path === 'query_range' ? reply : undefined;
  await ok(() => refused(401, 'it answers 401: no or no valid credential'), 'no valid credential');
  await ok(ranged(refused(400, 'it answers 400, bad_data: parse error')), 'bad_data: parse error');
  await ok(ranged(away), 'it answers 502 without a word');
  await ok(() => answerOf('<html>'), 'its answer is no vector as query gives it');
  await ok(ranged(answerOf('<html>')), 'its answer is no matrix as query_range gives it');
  const many =
    (count: number): Answer =>
    (path) =>
      path === 'query'
        ? answerOf({
            resultType: 'vector',
            result: [{ metric: { __name__: 'x' }, value: [0, `${count}`] }],
          })
        : undefined;
  await ok(many(HISTORY_SERIES_MAX + 1), 'has 100001 series, at most 100000 are read');
  await ok(many(60_000), 'brings 60000 series, at most 50000 are read at once');
  await ok(() => undefined, 'steps, at most 530000; choose a longer step', { lookbackMs: 53e10 });
  await ok(() => undefined, 'of log, and log.retentionSize is 1KB; raise it', {
    ...{ logBytesMax: 1_000, logRetention: '1KB' },
  });
});

test('what is not there is waited for by nobody', async () => {
  const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
  const nothing: Answer = (path) =>
    path === 'query' ? answerOf({ resultType: 'vector', result: [] }) : undefined;
  expect(await pace.through(fillerOn(log, pace, prometheus(nothing)).fill())).toBe('empty');
  expect(pace.nowMs - NOW).toBeLessThan(MINUTE);
  expect(contentsOf(log)).toEqual({ samples: 0, ends: ['empty', 'empty', 'empty'] });
});

test('a reader that could not wait any longer ends it for all', async () => {
  const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
  let ranges = 0;
  const slow: Answer = (path) => {
    if (path !== 'query_range' || ++ranges !== 1) return undefined;
    const mark: HistoryMark = {
      ...{ kind: 'fence', end: 'silent', filler: '', claimOffset: 0 },
      ...{ startMs: 0, endMs: 0, doneMs: 0 },
    };
    void log.append('backfill', 0, encodeMark(mark), 0);
    return undefined;
  };
  expect(await pace.through(fillerOn(log, pace, prometheus(slow)).fill())).toBe('silent');
  expect(contentsOf(log).ends).toEqual(['silent', 'silent', 'silent']);
});

test('a log that is away is waited for, and a step that was logged in part comes again', async () => {
  const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
  let appends = 0;
  const append = log.append.bind(log);
  log.append = (topic, partition, value, samples) => {
    const isBlock = topic === 'backfill' && partition === 1 && samples > 0;
    if (isBlock) appends++;
    const isFailing = isBlock && appends > 100 && appends <= 110;
    if (!isFailing) return append(topic, partition, value, samples);
    return Promise.reject(new OperatingError('log_unavailable', 'The brokers are away'));
  };
  // Time flies here while a body is compressed; how long is waited is not what this is about.
  const { fill, filler } = fillerOn(log, pace, prometheus(), { waitMs: 1e12 });
  expect(await pace.through(fill())).toBe('complete');
  expect(filler.retries).toBeGreaterThan(0);
  const { samples, ends } = contentsOf(log);
  expect(ends).toEqual(whole.ends);
  expect(samples).toBeGreaterThanOrEqual(whole.samples);
  expect(timesOf(log, 1).length).toBe(STEPS);
});

test('types are learnt before the first sample, and warnings are told at the end', async () => {
  const announced = async (types: ApiReply) => {
    const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
    const said = (path: string) => (path === 'metadata' ? types : undefined);
    const partial = prometheus(said);
    const api: PrometheusApi = {
      ...partial,
      async ask(path, ...more) {
        const reply = await partial.ask(path, ...more);
        return path === 'query_range' && reply.kind === 'answer'
          ? { ...reply, warnings: ['The answer is partial'] }
          : reply;
      },
    };
    const site = fillerOn(log, pace, api);
    expect(await pace.through(site.fill())).toBe('complete');
    expect(site.said.slice(-2)).toEqual([
      'That Prometheus warned about its answers; the history may be partial',
      'The history is in the log',
    ]);
    const first = recordsOf(log, 1).find((record) => !isMark(record)) as Uint8Array;
    return fromBinary(SampleBlockSchema, first).series.map(({ type, unit }) => [type, unit]);
  };
  const counter = { load: [{ type: 'counter', unit: 'bytes', help: 'x' }], odd: 'nothing', up: [] };
  expect(new Set(await announced(answerOf(counter)))).toContainEqual([MetricType.COUNTER, 'bytes']);
  for (const other of [away, answerOf('<html>'), answerOf({ load: [{ type: 'who knows' }] })]) {
    expect(await announced(other)).toContainEqual([MetricType.UNSPECIFIED, '']);
  }
});

test('metric names are asked for in groups, without those that are left out on arrival', async () => {
  const [log, pace] = [new MemoryLog(PARTITIONS), new Hours()];
  const names = ['up', 'anomaly_score', 'kube_pod_info', 'http_requests_total', 'weird.name'];
  const api = prometheus((path, { query = '' }) => {
    if (path !== 'query' || !query.includes('by (__name__)')) return undefined;
    const result = names.map((name) => ({ metric: { __name__: name }, value: [0, '15000'] }));
    return answerOf({ resultType: 'vector', result });
  });
  const keep = ['{job="a"}', 'load{job=~"b|c"}'];
  const { fill } = fillerOn(log, pace, api, { keep });
  await pace.through(fill());
  const ranges = new Set(api.asked.filter((asked) => asked.startsWith('query_range')));
  expect([...ranges].sort()).toEqual([
    ...['query_range load{job=~"b|c"}'],
    ...['query_range {__name__=~"http_requests_total",job="a"}'],
    ...['query_range {__name__=~"up",job="a"}'],
    ...['query_range {__name__=~"weird\\\\.name",job="a"}'],
  ]);
});
