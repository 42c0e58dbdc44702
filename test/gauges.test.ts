import { create, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { escapeName } from '../src/scorer/gauge-text.js';
import { Gauges } from '../src/scorer/gauges.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { scrapeRoutes } from '../src/scrape.js';
import type { Label } from '../src/series.js';
import { loadWasm } from '../src/wasm-files.js';
import { randomOf } from './random.js';

const BEGIN = 1_760_000_000_000;
const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const { module } = loadWasm('forest');

function label(name: string, value: string): Label {
  return { name, value };
}

const CALM = [label('__name__', 'calm'), label('job', 'shop'), label('namespace', 'eu')];
const LOUD = [
  label('__name__', 'loud'),
  label('job', 'shop'),
  label('namespace', 'eu'),
  label('detector', 'theirs'),
  label('my.label', 'quote " back \\ line \n'),
];

/** A partition with a calm and a loud series; `until` minutes of them, the loud one disturbed for the last three. */
function site(scores: 'flagged' | 'all' = 'flagged') {
  let now = 0;
  const partition = new Partition(new WasmForest(module, { seriesMax: 9, seed: 1 }), 9);
  const gauges = new Gauges({ scores, lingerMs: 900_000 }, () => now);
  gauges.adopt(0, partition);
  partition.listen({
    onPhase: (change) => gauges.onPhase(0, change),
    onOpened: (entry) => gauges.onOpened(0, entry),
    onRemoved: (entry) => gauges.onRemoved(0, entry),
  });
  const random = randomOf(11);
  let minute = 0;
  const run = (minutes: number, extra = 0) => {
    for (let i = 0; i < minutes; i++, minute++) {
      const bits = new DataView(new ArrayBuffer(8));
      const values = [10 + random(), 20 + random() + extra].map((value) => {
        bits.setFloat64(0, value);
        return bits.getBigUint64(0);
      });
      const at = BigInt(BEGIN + minute * 60_000);
      const series = [CALM, LOUD].map((labels, i) => ({
        fingerprint: BigInt(i + 1),
        label: labels,
      }));
      partition.apply(
        toBinary(
          SampleBlockSchema,
          create(SampleBlockSchema, {
            fingerprint: [1n, 2n],
            timestampMs: [at, at],
            valueBits: values,
            series,
          }),
        ),
      );
    }
  };
  const scrape = async (options: { url?: string; accept?: string } = {}) => {
    const server = createHttpServer({ metrics: createMetrics('0'), logger: quiet });
    scrapeRoutes(server, createMetrics('0'), gauges);
    const headers = options.accept === undefined ? {} : { accept: options.accept };
    return server.inject({ url: options.url ?? '/metrics/anomalies', headers });
  };
  return {
    gauges,
    partition,
    run,
    scrape,
    passMinutes: (minutes: number) => {
      now += minutes * 60_000;
    },
  };
}

test('a series appears with its own labels when its flag goes up, lingers at 0, and goes', async () => {
  const { run, scrape, passMinutes } = site();
  run(1000);
  expect((await scrape()).body).not.toContain('loud');
  run(3, 500);
  const { body, headers } = await scrape();
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  const labels =
    '{source_metric="loud",job="shop",namespace="eu",exported_detector="theirs",' +
    'U__my_2e_label="quote \\" back \\\\ line \\n",detector="series"}';
  expect(body).toContain(`\nanomaly_flag${labels} 1\n`);
  expect(body).toMatch(/\nanomaly_score\{source_metric="loud".*\} [1-9]/);
  expect(body).toMatch(/\nanomaly_expected_lower\{.*\} [0-9.-]+\n/);
  expect(body).not.toContain('"calm"');
  expect(body).toContain('anomaly_rate{detector="series",namespace="eu",job="shop"} 0.5\n');
  run(60);
  expect((await scrape()).body).toContain(`\nanomaly_flag${labels} 0\n`);
  passMinutes(16);
  const gone = (await scrape()).body;
  expect(gone).not.toContain('loud');
  expect(gone).toContain('anomaly_rate{detector="series",namespace="eu",job="shop"} 0\n');
});

test('all: every scored series has gauges', async () => {
  const { run, scrape } = site('all');
  run(10);
  expect((await scrape()).body).toContain('anomaly_flag{source_metric="calm",');
});

test('names outside the classic alphabet are quoted only for a scraper that says so', async () => {
  const { run, scrape } = site();
  run(1000);
  run(3, 500);
  const accept = 'text/plain;version=1.0.0;escaping=allow-utf-8';
  const { body, headers } = await scrape({ accept });
  expect(headers['content-type']).toContain('escaping=allow-utf-8');
  expect(body).toContain('"my.label"="quote ');
});

test('escaping never makes two names one', () => {
  const names = [
    'a.b',
    'a_b',
    'a_2e_b',
    'U__a_2e_b',
    'a-b',
    'a:b',
    'ä',
    '1a',
    'a__b',
    'U__',
    'a b',
  ];
  expect(new Set(names.map(escapeName)).size).toBe(names.length);
  for (const name of names) expect(escapeName(name)).toMatch(/^[a-zA-Z_][a-zA-Z0-9_]*$/);
  expect(escapeName('a_b')).toBe('a_b');
});

test('match[] chooses by the labels of the source, and a bad one is 400', async () => {
  const { run, scrape } = site();
  run(1000);
  run(3, 500);
  const shown = async (match: string) =>
    (
      await scrape({ url: `/metrics/anomalies?match[]=${encodeURIComponent(match)}` })
    ).body.includes('"loud"');
  expect(await shown('{job="shop"}')).toBe(true);
  expect(await shown('loud')).toBe(true);
  expect(await shown('{job="other"}')).toBe(false);
  const bad = await scrape({ url: '/metrics/anomalies?match[]=%7B' });
  expect([bad.statusCode, bad.body]).toEqual([400, 'Cannot read the selector "{": expected }\n']);
});

test('?all=1 gives our own metrics and the gauges in one answer', async () => {
  const { run, scrape } = site();
  run(10);
  const { body } = await scrape({ url: '/metrics?all=1' });
  expect(body).toContain('treeline_build_info');
  expect(body).toContain('# TYPE anomaly_flag gauge');
  expect((await scrape({ url: '/metrics' })).body).not.toContain('anomaly_flag');
});

test('a forgotten series leaves its group and its gauges', async () => {
  const { run, scrape, partition, gauges } = site('all');
  run(10);
  for (const entry of [0, 1]) gauges.onRemoved(0, entry);
  expect((await scrape()).body).not.toContain('anomaly_rate{');
  expect(partition.slots.count).toBe(2);
});
