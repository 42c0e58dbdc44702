// Treeline as a remote-write receiver, judged by the inputs of the public compliance suite over real
// HTTP: every request of compliance-cases.ts, labels in random order as the suite sends them. Each
// answer is checked for status, counts and body, and at the end the log holds exactly what the
// counts claimed: values bit for bit, start timestamps, histograms.

import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HistogramSchema } from '../src/gen/remote_write_v2_pb.js';
import type { CaseSeries, ComplianceCase } from './compliance-case.js';
import { complianceCases } from './compliance-cases.js';
import { bitsOf, keyOf, type LoggedPoint, readLogged } from './logged-series.js';
import { endPrograms, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import {
  type Answer,
  compress,
  openSender,
  type Sender,
  WRITE_HEADERS,
  WRITE_HEADERS_V2,
  writeRequest,
  writtenOf,
} from './remote-write-sender.js';
import {
  identityFaults,
  partitionsAtRest,
  startTreeline,
  type Treeline,
} from './treeline-process.js';
import { histogramBytes, type SeriesV2, writeRequestV2 } from './write-request-v2.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const PARTITIONS = 4;
/** What the suite sends, by a count of its source and by running it. */
const PUBLISHED_REQUESTS = 205;
/** Of those: with series that hold nothing but metadata or exemplars refused, as Prometheus does. */
const PUBLISHED_STATUSES = { 204: 172, 400: 29, 415: 4 };
const STEP_MS = 10;

const random = randomOf(SEED);
const cases = complianceCases();
const directory = temporaryDirectory('compliance');
const kept = new Map<string, Kept>();
const statuses = new Map<number, number>();
let nowMs = Date.now() - 60_000;
let treeline: Treeline;
let sender: Sender;

interface Kept {
  points: LoggedPoint[];
  histograms: { timestampMs: bigint; startMs: bigint; message: unknown }[];
}

beforeAll(async () => {
  console.log(`TREELINE_SEED=${SEED} repeats the order of the labels`);
  treeline = await startTreeline({ dataDir: directory, args: ['--logging-level', 'warn'] });
  sender = openSender(treeline.url);
});

afterAll(async () => {
  sender.close();
  await endPrograms();
});

for (const one of cases) {
  test(`${one.test} is answered ${one.want.status}`, async () => {
    for (let time = 0; time < one.times; time++) {
      nowMs += STEP_MS;
      expectAnswer(one, await send(one));
      if (one.want.status !== 415) noteKept(one);
    }
  });
}

test('these are the requests of the suite, and as many of each status', () => {
  const published = cases.filter(({ isBeyond }) => isBeyond !== true);
  const requests = published.reduce((sum, { times }) => sum + times, 0);
  expect(requests).toBe(PUBLISHED_REQUESTS);
  expect(Object.fromEntries(statuses)).toEqual(PUBLISHED_STATUSES);
  expect(new Set(cases.map(({ test: name }) => name)).size).toBe(cases.length);
});

test('the log holds what the answers claimed, bit for bit, and the counters add up', async () => {
  await partitionsAtRest(treeline);
  expect.soft(identityFaults(await treeline.metrics())).toEqual([]);
  await treeline.stop();
  const logged = await readLogged(directory, PARTITIONS);
  expect([...logged.keys()].sort()).toEqual([...kept.keys()].sort());
  for (const [key, { points, histograms }] of logged) {
    const want = kept.get(key) as Kept;
    expect(points, key).toEqual(want.points);
    const found = histograms.map(({ timestampMs, startMs, bytes }) => ({
      timestampMs,
      startMs,
      message: bucketsOf(bytes),
    }));
    expect(found, key).toEqual(want.histograms);
  }
  expect(kept.size).toBeGreaterThan(100);
});

function send(one: ComplianceCase): Promise<Answer> {
  const message =
    one.version === 1
      ? writeRequest(
          one.series.map(({ labels, value, ageMs = 0 }) => ({
            labels: shuffled(labels),
            points: [[nowMs - ageMs, Number(value)]],
          })),
        )
      : writeRequestV2(one.series.map(seriesOf));
  const body = Buffer.from(compress(message));
  if (one.firstByte !== undefined) body[0] = one.firstByte;
  const headers = one.version === 1 ? WRITE_HEADERS : WRITE_HEADERS_V2;
  return sender.send(body, { ...headers, ...one.headers });
}

function seriesOf(one: CaseSeries): SeriesV2 {
  const { value, histogram, metadata, createdAgeMs } = one;
  const timestampMs = nowMs - (one.ageMs ?? 0);
  return {
    labels: shuffled(one.labels),
    samples: value === undefined ? [] : [{ timestampMs, value }],
    histograms: histogram === undefined ? [] : [{ ...histogram, timestampMs }],
    exemplars: (one.exemplars ?? []).map((exemplar) => ({
      labels: exemplar.labels,
      value: exemplar.value,
      timestampMs: nowMs - (exemplar.ageMs ?? 0),
    })),
    ...(metadata === undefined
      ? {}
      : { metadata: { type: metadata[0], help: metadata[1], unit: metadata[2] } }),
    ...(createdAgeMs === undefined ? {} : { createdMs: nowMs - createdAgeMs }),
  };
}

function expectAnswer(one: ComplianceCase, answer: Answer): void {
  const { status, samples = 0, histograms = 0, exemplars = 0 } = one.want;
  expect(answer.status, answer.text).toBe(status);
  if (one.isBeyond !== true) statuses.set(status, (statuses.get(status) ?? 0) + 1);
  if (status === 204) {
    expect(answer.text).toBe('');
  } else {
    expect(answer.text.length).toBeGreaterThan(10);
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  }
  // Refused before it was known that this is 2.0: no counts, or zeros.
  if (status === 415) {
    expect(writtenOf(answer) ?? { samples, histograms, exemplars }).toEqual({
      samples: 0,
      histograms: 0,
      exemplars: 0,
    });
    return;
  }
  const written = one.version === 1 ? undefined : { samples, histograms, exemplars };
  expect(writtenOf(answer)).toEqual(written);
}

/** What the log must hold afterwards: of a request that is refused in part, the series with a name. */
function noteKept(one: ComplianceCase): void {
  if (one.want.status !== 204 && (one.want.samples ?? 0) === 0) return;
  for (const { labels, value, histogram, ageMs = 0, createdAgeMs } of one.series) {
    const name = labels['__name__'] ?? '';
    // Constant labels of a thing have no behaviour to score: taken, counted, and not logged.
    if (name === '' || name.endsWith('_info')) continue;
    const key = keyOf(labels);
    const entry = kept.get(key) ?? { points: [], histograms: [] };
    kept.set(key, entry);
    const timestampMs = BigInt(nowMs - ageMs);
    const startMs = createdAgeMs === undefined ? 0n : BigInt(nowMs - createdAgeMs);
    if (value !== undefined) entry.points.push([timestampMs, bitsOf(value), startMs]);
    if (histogram === undefined) continue;
    const bytes = histogramBytes({ ...histogram, timestampMs });
    entry.histograms.push({ timestampMs, startMs, message: bucketsOf(bytes) });
  }
}

/** A histogram without its times, which the log keeps beside it. */
function bucketsOf(bytes: Uint8Array): unknown {
  return { ...fromBinary(HistogramSchema, bytes), timestamp: 0n, startTimestamp: 0n };
}

function shuffled(labels: CaseSeries['labels']): [string, string][] {
  const pairs = Object.entries(labels);
  for (let at = pairs.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [pairs[at], pairs[other]] = [pairs[other] as [string, string], pairs[at] as [string, string]];
  }
  return pairs;
}
