// Bad input over HTTP against the running program: the status, the sentence that names what was
// wrong with which series, the counter that moves, and, read back from the log at the end, exactly
// the good samples. The inputs are those of the Remote-Write specification and of senders seen in
// the wild.

import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import {
  BODY_BYTES_MAX,
  FUTURE_MS_MAX,
  LABEL_NAME_BYTES_MAX,
  LABEL_VALUE_BYTES_MAX,
  LABELS_PER_SERIES_MAX,
  REQUEST_SERIES_MAX,
} from '../src/limits.js';
import { readLoggedSeries } from './log-reader.js';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import {
  type Answer,
  compress,
  exchange,
  openSender,
  type Sender,
  type Series,
  streamUntilAnswered,
  WRITE_HEADERS,
  writeBody,
  writeRequest,
} from './remote-write-sender.js';
import {
  identityFaults,
  partitionsAtRest,
  readingOf,
  startTreeline,
  type Treeline,
} from './treeline-process.js';

const PARTITIONS = 4;
const NOW = Date.now();
const ANSWER_BYTES_MAX = 1024;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

type Labels = Record<string, string>;

const directory = temporaryDirectory('bad-input');
/** What the log must hold at the end: samples by series. */
const kept = new Map<string, number>();
let treeline: Treeline;
let sender: Sender;

beforeAll(async () => {
  treeline = await startTreeline({ dataDir: directory, args: ['--logging-level', 'warn'] });
  sender = openSender(treeline.url);
});

afterAll(async () => {
  sender.close();
  await endPrograms();
});

test('a body that cannot be read is refused whole, with a sentence that says why', async () => {
  const body = writeBody([good('whole')]);
  const plain = writeRequest([good('whole')]);
  const framed = Buffer.concat([Buffer.from('\xff\x06\x00\x00sNaPpY', 'latin1'), body]);
  await refused(new Uint8Array(0), 400, /empty/i);
  await refused(noise(65_536), 400, /snappy/i);
  await refused(framed, 400, /framed|framing/i);
  await refused(gzipSync(plain), 400, /snappy/i);
  await refused(plain, 400, /snappy/i);
  await refused(Buffer.concat([body, Buffer.from([0])]), 400, /snappy/i);
  await refused(Buffer.from('ffffffffff0f', 'hex'), 400, /snappy|length/i);
  // Field 1 of 127 bytes, of which none follow; field number 0; groups that nobody closes.
  await refused(compress(Buffer.from('0a7f', 'hex')), 400, /protobuf|field/i);
  await refused(compress(Buffer.from('0001', 'hex')), 400, /protobuf|tag|field/i);
  await refused(compress(Buffer.alloc(200, 0x0b)), 400, /group/i);
});

test('a body cut off anywhere is refused', async () => {
  const body = writeBody([good('cut')]);
  const statuses = new Map<number, number>();
  for (let length = 0; length < body.length; length++) {
    statuses.set(length, (await sender.send(body.subarray(0, length))).status);
  }
  expect(statuses.size).toBeGreaterThan(50);
  expect([...statuses].filter(([, status]) => status !== 400)).toEqual([]);
});

test('a sender that goes away in the middle of a body is counted, and nothing of it is written', async () => {
  const gone = () =>
    eventually('the count', 5_000, async () =>
      (await treeline.metrics()).find(({ labels }) => labels['code'] === '499')?.value === 1
        ? true
        : undefined,
    );
  const socket = connect(treeline.port, '127.0.0.1');
  const body = writeBody([good('gone')]);
  socket.write(`POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`);
  socket.write(body.subarray(0, body.length - 5));
  await new Promise((resolve) => setTimeout(resolve, 100));
  socket.destroy();
  await gone();
  expect(treeline.program.stderr()).not.toContain('ERROR');
});

test('too much is refused by its declared length or while it comes', async () => {
  // The declared length of the message: 4 GiB less 1.
  await refused(Buffer.from('ffffffff0f0000000000', 'hex'), 413, /bytes/);
  const declared = { ...WRITE_HEADERS, 'Content-Length': String(BODY_BYTES_MAX + 1) };
  const byLength = await exchange(new URL('/api/v1/write', treeline.url), {
    method: 'POST',
    headers: declared,
    body: new Uint8Array(10),
  });
  expect(byLength.status).toBe(413);
  expectPlain(byLength);
  expect(byLength.text).toContain(String(BODY_BYTES_MAX + 1));
  const answer = await streamUntilAnswered(treeline.url, BODY_BYTES_MAX + 1024 * 1024);
  expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  expect(answer).toContain(`more than ${BODY_BYTES_MAX} bytes`);
  // Two bytes a series: small on the wire, and far more series than anybody sends.
  const empty = Buffer.alloc(2 * (REQUEST_SERIES_MAX + 1));
  for (let at = 0; at < empty.length; at += 2) empty[at] = 0x0a;
  await refused(compress(empty), 413, /series/);
});

test('type and encoding are judged before the body is looked at', async () => {
  // The body would be a 400: a 415 shows that it was not decompressed.
  const unreadable = noise(100);
  const type = (value: string) => ({ ...WRITE_HEADERS, 'Content-Type': value });
  const encoding = (value: string) => ({ ...WRITE_HEADERS, 'Content-Encoding': value });
  await refused(
    unreadable,
    415,
    /"application\/json".*application\/x-protobuf/,
    type('application/json'),
  );
  await refused(unreadable, 415, /"image\/png"/, type('image/png'));
  await refused(unreadable, 415, /"yolo"/, type('application/x-protobuf;proto=yolo'));
  const version2 = 'application/x-protobuf;proto=io.prometheus.write.v2.Request';
  await refused(unreadable, 415, /2\.0.*prometheus\.WriteRequest/, type(version2));
  await refused(unreadable, 415, /"gzip".*snappy/, encoding('gzip'));
  await refused(unreadable, 415, /"zstd".*snappy/, encoding('zstd'));
});

test('only POST is allowed on the two write paths, and both take samples', async () => {
  for (const path of ['/api/v1/write', '/api/v1/push']) {
    const url = new URL(path, treeline.url);
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await exchange(url, { method });
      expect([path, method, answer.status, answer.headers['allow']]).toEqual([
        path,
        method,
        405,
        'POST',
      ]);
      expectPlain(answer);
    }
    const series = good(`path ${path}`);
    const body = writeBody([series]);
    const answer = await exchange(url, { method: 'POST', headers: WRITE_HEADERS, body });
    expect(answer.status, answer.text).toBe(204);
    expect(answer.headers['x-prometheus-remote-write-samples-written']).toBeUndefined();
    note(series);
  }
  expect((await exchange(new URL('/api/v1/writ', treeline.url), { method: 'POST' })).status).toBe(
    404,
  );
});

test('a bad series is named and left out, and the good ones beside it are kept', async () => {
  await partly('no_metric_name', { labels: { job: 'a' } }, /job="a"/);
  await partly('no_metric_name', { labels: { __name__: '', job: 'a' } }, /job="a"/);
  await partly('no_metric_name', { labels: {} }, /\{\}/);
  const twice: Series['labels'] = [
    ['__name__', 'twice'],
    ['job', 'a'],
    ['zone', 'z'],
    ['job', 'b'],
  ];
  await partly('duplicate_label', { labels: twice }, /twice\{job="a", job="b", zone="z"\}/);
  await partly('empty_label_name', { labels: { __name__: 'nameless', '': 'x' } }, /nameless/);
  const many = Object.fromEntries(
    LETTERS.split('').flatMap((a) => [1, 2, 3].map((b) => [a + b, 'x'])),
  );
  expect(Object.keys(many).length).toBeGreaterThan(LABELS_PER_SERIES_MAX);
  await partly('too_many_labels', { labels: { __name__: 'many', ...many } }, /many\{a1="x"/);
  const longName = 'n'.repeat(LABEL_NAME_BYTES_MAX + 1);
  await partly('label_name_too_long', { labels: { __name__: 'long', [longName]: 'x' } }, /long/);
  const longValue = 'v'.repeat(LABEL_VALUE_BYTES_MAX + 1);
  await partly(
    'label_value_too_long',
    { labels: { __name__: 'long', job: longValue } },
    /long\{job="v/,
  );
  await partly('no_samples', { labels: { __name__: 'pointless' }, points: [] }, /pointless/);
});

test('invalid UTF-8 is found wherever it stands, and valid UTF-8 is left alone', async () => {
  // Two bytes that are no character, an overlong NUL, half of a surrogate pair, one above U+10FFFF.
  for (const bytes of ['c328', 'c080', 'eda080', 'f4908080']) {
    const wrong = Buffer.from(bytes, 'hex');
    const mark = '#'.repeat(wrong.length);
    for (const labels of [
      { __name__: 'broken', job: `x${mark}` },
      { __name__: 'broken', [`x${mark}`]: 'job' },
      { __name__: `broken${mark}` },
    ]) {
      const replace = (message: Uint8Array): Uint8Array => {
        const copy = Buffer.from(message);
        wrong.copy(copy, copy.indexOf(mark));
        return copy;
      };
      await partly('invalid_utf8', { labels }, /broken/, replace);
    }
  }
  await taken({ __name__: 'température ambiante', 'job name': 'ß\n🙂\u0000' });
});

test('samples of the future are refused one by one; any past timestamp is taken', async () => {
  const points = [
    [NOW - 1000, 1],
    [NOW + FUTURE_MS_MAX + 60_000, 2],
    [NOW + FUTURE_MS_MAX - 60_000, 3],
  ] as const;
  const series = { labels: { __name__: 'early', case: 'future' }, points };
  const answer = await sender.send(writeBody([series]));
  expect([answer.status, answer.text]).toEqual([
    400,
    '1 of 3 samples rejected: 1 too far in future; ' +
      'first: too far in future: early{case="future"}\n',
  ]);
  kept.set(keyOf(series.labels), 2);
  const past = {
    labels: { __name__: 'old', case: 'past' },
    points: [
      [-1, 1],
      [0, 2],
      [NOW, 3],
    ] as const,
  };
  expect((await sender.send(writeBody([past]))).status).toBe(204);
  kept.set(keyOf(past.labels), 3);
});

test('a native histogram is refused and its series is named', async () => {
  const series = good('histogram');
  const message = toBinary(
    WriteRequestSchema,
    create(WriteRequestSchema, {
      timeseries: [
        {
          labels: [{ name: '__name__', value: 'latency' }],
          histograms: [{ count: { case: 'countInt', value: 3n }, sum: 2, timestamp: BigInt(NOW) }],
        },
      ],
    }),
  );
  const before = await rejectedFor('native_histogram');
  // Two serialised messages in a row are one message with the series of both.
  const answer = await sender.send(compress(Buffer.concat([message, writeRequest([series])])));
  expect(answer.status).toBe(400);
  expect(answer.text).toMatch(
    /^1 of 3 samples rejected: 1 native histogram; first: .*: latency\n$/,
  );
  expect(await rejectedFor('native_histogram')).toBe(before + 1);
  note(series);
});

test('unsorted labels, empty values, repeated and late samples are taken', async () => {
  await taken({ zone: 'z', __name__: 'unsorted', case: 'unsorted', a: '1' });
  const again = good('again');
  for (let i = 0; i < 3; i++) expect((await sender.send(writeBody([again]))).status).toBe(204);
  kept.set(keyOf(again.labels), 3 * again.points.length);
  const late = {
    labels: { __name__: 'late', case: 'late' },
    points: [
      [NOW, 1],
      [NOW - 60_000, 2],
    ] as const,
  };
  expect((await sender.send(writeBody([late]))).status).toBe(204);
  kept.set(keyOf(late.labels), 2);
  const empty = {
    labels: { __name__: 'bare', case: 'bare', gone: '' },
    points: [[NOW, 1]] as const,
  };
  expect((await sender.send(writeBody([empty]))).status).toBe(204);
  kept.set(keyOf({ __name__: 'bare', case: 'bare' }), 1);
});

test('an answer about very many bad series is short, plain and one line', async () => {
  const evil = 'x\r\nSet-Cookie: a=b\r\n\r\n<script>';
  const bad = Array.from({ length: 300 }, (_, index) => ({
    labels: { job: `${index}${evil}${'é'.repeat(3_000)}` },
    points: [[NOW, index]] as const,
  }));
  const series = good('short');
  const answer = await sender.send(writeBody([...bad, series]));
  expect(answer.status).toBe(400);
  note(series);
  expectPlain(answer);
  expect(answer.headers['set-cookie']).toBeUndefined();
  expect(answer.text).toMatch(/^300 of 302 samples rejected: 300 no metric name; first: /);
  // A long value is cut between two characters, not within one.
  expect(answer.text).not.toContain('\ufffd');
  // The same connection is still of use.
  const after = good('after');
  expect((await sender.send(writeBody([after]))).status).toBe(204);
  note(after);
});

test('the log holds exactly the good samples, and the counters add up', async () => {
  await partitionsAtRest(treeline);
  expect(identityFaults(await treeline.metrics())).toEqual([]);
  await treeline.stop();
  const logged = await readLoggedSeries(directory, {
    partitions: PARTITIONS,
    keyOf: (labels) => keyOf(Object.fromEntries(labels.map(({ name, value }) => [name, value]))),
  });
  const counts = new Map([...logged].map(([key, points]) => [key, points.length]));
  expect(Object.fromEntries([...counts].sort())).toEqual(Object.fromEntries([...kept].sort()));
  expect(kept.size).toBeGreaterThan(20);
});

async function refused(
  body: Uint8Array,
  status: number,
  why: RegExp,
  headers: Readonly<Record<string, string>> = WRITE_HEADERS,
): Promise<void> {
  const loggedBefore = readingOf(await treeline.metrics(), 'treeline_samples_logged_total');
  const answer = await sender.send(body, headers);
  expect([answer.status, answer.text], answer.text).toEqual([status, expect.stringMatching(why)]);
  expectPlain(answer);
  const loggedAfter = readingOf(await treeline.metrics(), 'treeline_samples_logged_total');
  expect(loggedAfter).toBe(loggedBefore);
}

/**
 * Sends the bad series between two good ones; `change` makes bytes that the generated code cannot
 * write.
 */
async function partly(
  reason: string,
  bad: { labels: Series['labels']; points?: Series['points'] },
  named: RegExp,
  change: (message: Uint8Array) => Uint8Array = (message) => message,
): Promise<void> {
  const [first, last] = [good(`${reason} first ${kept.size}`), good(`${reason} last ${kept.size}`)];
  const points = bad.points ?? [[NOW, 1] as const];
  const message = change(writeRequest([first, { labels: bad.labels, points }, last]));
  const before = await rejectedFor(reason);
  const answer = await sender.send(compress(message));
  const words = reason.replaceAll('_', ' ');
  const total = points.length + first.points.length + last.points.length;
  const counted = points.length === 0 ? '1 series without samples' : `${points.length} ${words}`;
  expect(answer.status).toBe(400);
  expect(
    answer.text.startsWith(`${points.length} of ${total} samples rejected: ${counted}; first: `),
    answer.text,
  ).toBe(true);
  expect(answer.text).toMatch(named);
  expectPlain(answer);
  expect(await rejectedFor(reason)).toBe(before + points.length);
  note(first);
  note(last);
}

async function taken(labels: Labels): Promise<void> {
  const series: Series = { labels, points: [[NOW, 1]] };
  const answer = await sender.send(writeBody([series]));
  expect([answer.status, answer.text]).toEqual([204, '']);
  note(series);
}

async function rejectedFor(reason: string): Promise<number> {
  return readingOf(await treeline.metrics(), 'treeline_samples_rejected_total', { reason }) ?? 0;
}

function expectPlain(answer: Answer): void {
  expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  expect(answer.headers['x-content-type-options']).toBe('nosniff');
  expect(Buffer.byteLength(answer.text)).toBeLessThanOrEqual(ANSWER_BYTES_MAX);
  expect(answer.text.trimEnd().split(/[\r\n]/)).toHaveLength(1);
}

function good(name: string): Series & { labels: Labels } {
  const points = [
    [NOW - 15_000, 1.5],
    [NOW, -2.25],
  ] as const;
  return { labels: { __name__: 'good', case: name }, points };
}

function note(series: Series): void {
  kept.set(keyOf(series.labels as Labels), series.points.length);
}

function keyOf(labels: Labels): string {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(pairs);
}

/** Bytes without a pattern, the same each time. */
function noise(length: number): Uint8Array {
  let state = 42;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}
