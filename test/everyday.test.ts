// What everyday events lead to at the defaults, from samples to who is notified: a shop of four pods, after a week, on the day
// of the event. Forest, incidents and decisions are those of the program, without a process or a log between them. The
// table in docs/everyday.md is what comes out; `npx vitest run test/everyday.test.ts -u` writes it.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { firstOf } from '../src/api/incidents.js';
import { incidentRow } from '../src/api/rows.js';
import { Timeline } from '../src/api/timeline.js';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { encodeCandidate } from '../src/scorer/candidate.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { zoneChanges } from '../src/time-zone.js';
import { loadWasm } from '../src/wasm-files.js';
import { normalFrom, randomFrom } from './realistic-series.js';

const { module } = loadWasm('forest');
const MINUTE = 60_000;
const DAY = 1_440;
/** Minutes of what is learnt before the day of the event. */
const QUIET = 8 * DAY;
const MINUTES = 9 * DAY;
const NOON = QUIET + DAY / 2;
/** A Saturday, so that clocks in Europe go back on the day of the event. */
const BEGIN_MS = Date.UTC(2026, 9, 17);
const SERIES_MAX = 64;
const BLOCK_MINUTES = 60;
const STALE = 0x7ff0000000000002n;
const PODS = ['cart-7d9f-x2x4v', 'cart-7d9f-q8k2p', 'pay-5c6b-m4n7z', 'pay-5c6b-t9w3r'];
const NEW_PODS = ['cart-84bb-h5j6k', 'cart-84bb-r2d8c', 'pay-6f7d-b3v9s', 'pay-6f7d-k7p2x'];
const ZONE = 'Europe/Berlin';

/** What a series sends in a minute; nothing at all when undefined. */
type Value = number | 'stale' | undefined;
type Sources = { normal: () => number; wave: (minute: number) => number };

interface Made {
  metric: string;
  pod: string;
  value: (minute: number) => Value;
}

/** Of a pod: processor, memory, and requests, which are counted. */
function podSeries(pod: string, { normal, wave }: Sources, from = 0): Made[] {
  let requests = 0;
  return [
    { metric: 'cpu_usage', value: (at: number) => 0.4 + 0.15 * wave(at) + 0.02 * normal() },
    { metric: 'memory_mb', value: () => 512 + 4 * normal() },
    {
      metric: 'requests_total',
      value: (at: number) => {
        requests += Math.max(0, Math.round(60 * (40 + 20 * wave(at) + 2 * normal())));
        return requests;
      },
    },
  ].map(({ metric, value }) => ({
    metric,
    pod,
    value: (at) => (at < from ? undefined : value(at)),
  }));
}

interface Event {
  name: string;
  /** What is done to the shop. */
  change?: (series: Made[], sources: Sources) => Made[];
  /** Hour of the clock on the wall that the shop lives by. */
  isLocal?: boolean;
  timezone?: string;
}

const on =
  (metric: string, pods: readonly string[], then: (minute: number, value: Value) => Value) =>
  (series: Made[]): Made[] =>
    series.map((one) => {
      if (one.metric !== metric || !pods.includes(one.pod)) return one;
      return { ...one, value: (at) => then(at, one.value(at)) };
    });

const added = (value: Value, more: number): Value =>
  typeof value === 'number' ? value + more : value;

/** Ends with a stale marker, as a target that is gone. */
const ends = (series: Made[], pod: string, minute: number): Made[] =>
  series.map((one) => {
    if (one.pod !== pod) return one;
    const value = (at: number) =>
      at < minute ? one.value(at) : at === minute ? ('stale' as const) : undefined;
    return { ...one, value };
  });

const nightly = (from: number) =>
  on('cpu_usage', PODS.slice(0, 1), (at, value) => {
    const ofDay = at % DAY;
    return added(value, at >= from && ofDay >= 120 && ofDay < 140 ? 1.2 : 0);
  });

function dies(series: Made[]): Made[] {
  const [pod] = PODS as [string];
  const changed = series.map((one) => {
    if (one.pod !== pod) return one;
    const value = (at: number): Value => {
      const then = one.value(at);
      if (at < NOON) return then;
      // It leaks for half an hour, then it answers nobody any more.
      if (one.metric === 'memory_mb') return added(then, 20 * Math.min(at - NOON, 30));
      if (one.metric === 'cpu_usage') return added(then, at < NOON + 30 ? 0.5 : 0.55);
      return then;
    };
    return { ...one, value };
  });
  return ends(changed, pod, NOON + 45);
}

const EVENTS: Event[] = [
  { name: 'a calm day' },
  {
    name: 'a deploy: every pod is replaced, one after the other',
    change: (series, sources) => {
      const old = PODS.reduce((all, pod, i) => ends(all, pod, NOON + 2 * i + 2), series);
      return [...old, ...NEW_PODS.flatMap((pod, i) => podSeries(pod, sources, NOON + 2 * i))];
    },
  },
  { name: 'a job of every night, as every night', change: nightly(0) },
  { name: 'the first night of a new job', change: nightly(QUIET) },
  {
    name: 'a level shift: the processor of one pod, by eight deviations, for good',
    change: on('cpu_usage', PODS.slice(0, 1), (at, value) => added(value, at >= NOON ? 0.16 : 0)),
  },
  { name: 'clocks go back, and `timezone` is not set', isLocal: true },
  { name: 'clocks go back, and `timezone` is set', isLocal: true, timezone: ZONE },
  {
    name: 'a flat line: a value stands still',
    change: (series) => {
      let stuck: Value;
      return on('cpu_usage', PODS.slice(0, 1), (at, value) => {
        if (at === NOON) stuck = value;
        return at < NOON ? value : stuck;
      })(series);
    },
  },
  {
    name: 'a counter reset: one process starts again',
    change: (series) => {
      let before = 0;
      return on('requests_total', PODS.slice(0, 1), (at, value) => {
        if (at === NOON - 1 && typeof value === 'number') before = value;
        return at < NOON ? value : added(value, -before);
      })(series);
    },
  },
  { name: 'a dying pod: it leaks, is busy with itself, and is gone', change: dies },
  {
    name: 'its successor, with a name of its own',
    change: (series, sources) => [
      ...ends(series, PODS[0] as string, NOON),
      ...podSeries(NEW_PODS[0] as string, sources, NOON + 2),
    ],
  },
];

interface Outcome {
  anomalies: number;
  incidents: number;
  notified: number;
  /** Minutes from noon to the first onset. */
  after: number | undefined;
  metrics: string[];
}

function watch(event: Event): Outcome {
  const timeline = run(event);
  const fromMs = BEGIN_MS + QUIET * MINUTE;
  const incidents = timeline.list('').filter((one) => firstOf(one).onsetMs >= fromMs);
  const members = incidents.flatMap((one) => one.members);
  const first = Math.min(...members.map(({ onsetMs }) => onsetMs));
  const notified = incidents.filter(
    (one) => incidentRow(one, timeline).notification === 'notified',
  );
  const metrics = members.map(
    ({ labels }) => labels.find(({ name }) => name === '__name__')?.value ?? '',
  );
  return {
    anomalies: members.length,
    incidents: incidents.length,
    notified: notified.length,
    after: members.length === 0 ? undefined : (first - BEGIN_MS) / MINUTE - NOON,
    metrics: [...new Set(metrics)].sort(),
  };
}

function run(event: Event): Timeline {
  const zone = zoneChanges(event.isLocal ? ZONE : 'UTC');
  const normal = normalFrom(randomFrom(17));
  const wave = (minute: number) => {
    const at = minute + aheadOf(zone, BEGIN_MS / MINUTE + minute);
    return Math.sin((2 * Math.PI * at) / DAY);
  };
  const sources = { normal, wave };
  const shop = PODS.flatMap((pod) => podSeries(pod, sources));
  const series = event.change === undefined ? shop : event.change(shop, sources);
  return observed(series, event.timezone);
}

/** Minutes; of UTC none. */
function aheadOf(zone: Int32Array | undefined, minute: number): number {
  let ahead = 0;
  for (let i = 0; zone !== undefined && i < zone.length && (zone[i] as number) <= minute; i += 2) {
    ahead = zone[i + 1] as number;
  }
  return ahead;
}

/** Live for a week and more when the event comes. */
function observed(series: readonly Made[], timezone = 'UTC'): Timeline {
  const zone = zoneChanges(timezone);
  const forest = new WasmForest(module, { seriesMax: SERIES_MAX, seed: 1, zone });
  const partition = new Partition(forest, SERIES_MAX);
  partition.noise.begin([]);
  let nowMs = BEGIN_MS;
  const settings = {
    retentionMs: 90 * DAY * MINUTE,
    partitionBy: [['namespace', 'pod'], ['instance']],
    alerts: { mode: 'auto' as const, budget: 5 },
  };
  const timeline = new Timeline(settings, () => nowMs);
  timeline.notices.begunMs = BEGIN_MS;
  partition.listen({
    onPhase: (change) => {
      const bytes = encodeCandidate(partition, change, undefined);
      timeline.apply(fromBinary(CandidateSchema, bytes));
    },
    onOpened() {},
    onRemoved() {},
  });
  for (let from = 0; from < MINUTES; from += BLOCK_MINUTES) {
    partition.apply(blockOf(series, from));
    nowMs = BEGIN_MS + (from + BLOCK_MINUTES) * MINUTE;
    timeline.refresh();
  }
  return timeline;
}

function blockOf(series: readonly Made[], from: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  const block = {
    fingerprint: [] as bigint[],
    timestampMs: [] as bigint[],
    valueBits: [] as bigint[],
  };
  for (let minute = from; minute < from + BLOCK_MINUTES; minute++) {
    for (const [i, { value }] of series.entries()) {
      const now = value(minute);
      if (now === undefined) continue;
      if (now === 'stale') view.setBigUint64(0, STALE);
      else view.setFloat64(0, now);
      block.fingerprint.push(BigInt(i + 1));
      block.timestampMs.push(BigInt(BEGIN_MS + minute * MINUTE));
      block.valueBits.push(view.getBigUint64(0));
    }
  }
  const announced = series.map(({ metric, pod }, i) => ({
    fingerprint: BigInt(i + 1),
    label: Object.entries({ __name__: metric, namespace: 'shop', pod, job: 'shop' }).map(
      ([name, value]) => ({ name, value }),
    ),
  }));
  return toBinary(SampleBlockSchema, create(SampleBlockSchema, { ...block, series: announced }));
}

function page(outcomes: ReadonlyMap<string, Outcome>): string {
  const rows = [...outcomes].map(([name, { anomalies, incidents, notified, after, metrics }]) => {
    const when = after === undefined || after < 0 ? '' : `${after} min`;
    const cells = [name, anomalies, incidents, notified, when, metrics.join(', ')];
    return `| ${cells.join(' | ')} |`;
  });
  return `# What everyday events lead to

A shop of four pods, each with its processor, memory and requests once a minute, at the defaults and without a deep check.
Eight days are learnt; what is counted is the day of the event, which comes at noon unless it says otherwise. This page is
what \`test/everyday.test.ts\` finds; a change of what is found changes it.

| what happens | anomalies | incidents | notified | first after | of |
|---|---|---|---|---|---|
${rows.join('\n')}

A new series is warming up for its first 100 samples, and says nothing until then. For the rest of its first day it has seen
little, and may raise an anomaly by chance: those of a deploy and of a successor are no more than that, and nobody is told.
A series that ends leaves no anomaly behind: that something is gone is for an alert on \`up\` to say. Clocks that go back
move the whole rhythm by an hour; with \`timezone\` set that is no news.
`;
}

test('everyday events lead to what the table says', { timeout: 120_000 }, async () => {
  const outcomes = new Map(EVENTS.map((event) => [event.name, watch(event)]));
  const of = (name: string) => {
    const found = [...outcomes].find(([key]) => key.startsWith(name));
    return (found as [string, Outcome])[1];
  };
  const nothing = { anomalies: 0, incidents: 0, notified: 0 };
  for (const name of ['a calm day', 'a job of every night', 'a counter reset']) {
    expect(of(name), name).toMatchObject(nothing);
  }
  expect(of('clocks go back, and `timezone` is set')).toMatchObject(nothing);
  for (const name of ['a level shift', 'a dying pod', 'the first night']) {
    expect(of(name), name).toMatchObject({ incidents: 1, notified: 1 });
  }
  expect(of('a flat line').notified).toBeGreaterThan(0);
  // What ends says nothing, and what is new says nothing for its first 100 samples.
  for (const name of ['a deploy', 'its successor']) {
    expect(of(name).after ?? Number.POSITIVE_INFINITY, name).toBeGreaterThan(100);
  }
  await expect(page(outcomes)).toMatchFileSnapshot('../docs/everyday.md');
});

/** The one anomaly of the day of the event. */
function sentenceOf(change: NonNullable<Event['change']>): string {
  const timeline = run({ name: 'a fault', change });
  const [incident, ...others] = timeline
    .list('')
    .filter((one) => firstOf(one).onsetMs >= BEGIN_MS + QUIET * MINUTE);
  expect([incident?.members.length, others]).toEqual([1, []]);
  return incidentRow(incident as NonNullable<typeof incident>, timeline).explanation;
}

test('the numbers of the sentence are those of the fault that was injected', {
  timeout: 60_000,
}, () => {
  const [pod] = PODS as [string];
  const isFault = (at: number) => at >= NOON && at < NOON + 10;
  const gauge = sentenceOf(on('memory_mb', [pod], (at, value) => (isFault(at) ? 700 : value)));
  const rose =
    /^memory_mb of namespace=shop pod=(\S+) rose to (\S+), (\S+) above the expected (\S+) \(usual (\S+) to (\S+)\), at (\S+); unusual by (novelty|magnitude)$/.exec(
      gauge,
    );
  expect(rose, gauge).not.toBeNull();
  const [, name, seen, distance, expected, lower, upper, at] = rose as unknown as string[];
  expect([name, Number(seen)]).toEqual([pod, 700]);
  expect(Number(distance)).toBeCloseTo(700 - Number(expected), 0);
  expect(Math.abs(Number(expected) - 512)).toBeLessThan(10);
  expect(Number(lower)).toBeLessThan(512);
  expect(Number(upper)).toBeGreaterThan(512);
  const minute = (Date.parse(at as string) - BEGIN_MS) / MINUTE;
  expect(isFault(minute), gauge).toBe(true);

  // Of a counter the rate, six times what it is at noon.
  const counter = sentenceOf((series) => {
    let more = 0;
    return on('requests_total', [pod], (at, value) => {
      if (isFault(at)) more += 60 * 200;
      return added(value, more);
    })(series);
  });
  const times =
    /^requests_total of namespace=shop pod=\S+ rose to (\S+) per second, (\S+) times the expected (\S+) /.exec(
      counter,
    );
  expect(times, counter).not.toBeNull();
  const [rate, factor, usual] = (times as unknown as string[]).slice(1).map(Number) as [
    number,
    number,
    number,
  ];
  expect(Math.abs(rate - 240)).toBeLessThan(15);
  expect(Math.abs(usual - 40)).toBeLessThan(10);
  expect(factor).toBeCloseTo(rate / usual, 0);
});
