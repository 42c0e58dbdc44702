// History from servers that answer well, late, partly, wrongly or not at all. The real Prometheus is in backtest.test.ts.

import type { ServerResponse } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { RANGE_ANSWER_BYTES_MAX, RANGE_STEPS_MAX } from '../src/limits.js';
import { openPrometheusApi } from '../src/prometheus-api.js';
import {
  type RangeOptions,
  type RangeSummary,
  type RangeTaker,
  type RangeWanted,
  readRange,
} from '../src/prometheus-range.js';
import { seriesText } from '../src/series.js';
import {
  type ApiServer,
  type Asked,
  sendFault,
  sendSuccess,
  startApiServer,
} from './api-server.js';
import { freePort } from './programs.js';

const WANTED: RangeWanted = { query: 'up', startMs: 0, endMs: 599_000, stepMs: 1000 };

interface Taken extends RangeSummary {
  points: number;
  columns: Record<string, [number, number][]>;
  waits: number[];
}

/** Reads everything into memory; the pauses are noted, not waited for. */
async function read(url: string, wanted: Partial<RangeWanted> = {}, options: RangeOptions = {}) {
  const columns: Taken['columns'] = {};
  const names: string[] = [];
  const waits: number[] = [];
  const taker: RangeTaker = {
    series: (labels) => {
      names.push(seriesText(labels));
      columns[names.at(-1) as string] = [];
    },
    points: (series, times, values, count) => {
      for (let at = 0; at < count; at++) {
        columns[names[series] as string]?.push([times[at] as number, values[at] as number]);
      }
    },
  };
  let nowMs = 0;
  const summary = await readRange(openPrometheusApi(url), { ...WANTED, ...wanted }, taker, {
    clock: () => (nowMs += 1000),
    sleep: async (ms) => {
      waits.push(ms);
    },
    ...options,
  });
  return { ...summary, columns, waits } satisfies Taken;
}

async function fault(url: string, wanted: Partial<RangeWanted> = {}, options: RangeOptions = {}) {
  try {
    await read(url, wanted, options);
  } catch (error) {
    if (error instanceof OperatingError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'no fault';
}

type Answer = (asked: Asked, response: ServerResponse) => void;

async function server(answer: Answer): Promise<ApiServer> {
  const started = await startApiServer(answer);
  onTestFinished(() => started.stop());
  return started;
}

/** One point per step and series; counts as Prometheus does. */
function answerUp(metrics: readonly Record<string, string>[]): Answer {
  return ({ path, parameters }, response) => {
    if (path === 'query') {
      const value = [Number(parameters['time']), String(metrics.length)];
      sendSuccess(response, { resultType: 'vector', result: [{ metric: {}, value }] });
      return;
    }
    const [start, end, step] = ['start', 'end', 'step'].map((name) => Number(parameters[name]));
    const values: [number, string][] = [];
    for (let at = start!; at <= end! + 1e-6; at += step!) values.push([at, String(at)]);
    const result = metrics.map((metric) => ({ metric, values }));
    sendSuccess(response, { resultType: 'matrix', result });
  };
}

const ranges = ({ asked }: ApiServer) => asked.filter(({ path }) => path === 'query_range');

test('chunks follow each other without a gap or an overlap, each below what Prometheus answers', async () => {
  const { url, asked } = await server(answerUp([{ __name__: 'up' }]));
  const endMs = 25_000_000;
  const { columns, points } = await read(url, { startMs: 500, endMs });
  const times = (columns['up'] ?? []).map(([time]) => time);
  expect(times).toEqual(Array.from({ length: 25_000 }, (_, at) => 1000 * (at + 1)));
  expect(points).toBe(25_000);
  const sizes = asked
    .filter(({ path }) => path === 'query_range')
    .map(({ parameters: { start, end } }) => Number(end) - Number(start) + 1);
  expect(sizes).toEqual([RANGE_STEPS_MAX, RANGE_STEPS_MAX, 3_000]);
});

test('many series are asked for in shorter chunks', async () => {
  const metrics = Array.from({ length: 1000 }, (_, at) => ({ __name__: 'up', pod: String(at) }));
  const served = await server(answerUp(metrics));
  const { series, points } = await read(served.url);
  expect([series, points]).toEqual([1000, 600_000]);
  expect(ranges(served).map(({ parameters: { start } }) => start)).toEqual(['0.000', '400.000']);
});

test('a series is its labels, in whatever order and chunk they come', async () => {
  let turn = 0;
  const { url } = await server((asked, response) => {
    const metric = turn++ % 2 === 0 ? { a: '1', b: '2', c: '' } : { b: '2', a: '1' };
    answerUp([metric])(asked, response);
  });
  const { columns } = await read(url, { endMs: 15_000_000 });
  expect(Object.keys(columns)).toEqual(['{a="1", b="2"}']);
  expect(columns['{a="1", b="2"}']).toHaveLength(15_001);
});

test('values are what they were: NaN, infinities, gaps, fractions of a second', async () => {
  const values = [
    [0, 'NaN'],
    [1, '+Inf'],
    [2, '-Inf'],
    [4.25, '-1.5e-300'],
    [5, '0'],
  ];
  const { url } = await server(({ path }, response) => {
    const resultType = path === 'query' ? 'scalar' : 'matrix';
    const result = path === 'query' ? [0, '1'] : [{ metric: {}, values }];
    sendSuccess(response, { resultType, result });
  });
  const { columns } = await read(url, { query: 'vector(1)' });
  expect(columns['{}']).toEqual([
    [0, Number.NaN],
    [1000, Number.POSITIVE_INFINITY],
    [2000, Number.NEGATIVE_INFINITY],
    [4250, -1.5e-300],
    [5000, 0],
  ]);
});

test('what may succeed later is tried again with growing pauses, and not for ever', async () => {
  const answers: [number, Record<string, string>][] = [
    [500, {}],
    [503, { 'Retry-After': '7' }],
    [429, {}],
    [502, {}],
  ];
  const good = answerUp([{ __name__: 'up' }]);
  const { url } = await server((asked, response) => {
    const bad = asked.path === 'query_range' ? answers.shift() : undefined;
    if (bad === undefined) good(asked, response);
    else response.writeHead(...bad).end('<html>');
  });
  const { retries, waits, columns } = await read(url);
  expect([retries, waits]).toEqual([4, [500, 7000, 2000, 4000]]);
  expect(columns['up']).toHaveLength(600);
  let count = 0;
  const dying = await server((asked, response) => {
    if (count++ < 1) good(asked, response);
    else sendFault(response, 500, ['internal', 'disk\n is   full']);
  });
  expect(await fault(dying.url)).toMatch(
    /^prometheus_unreachable: Cannot read the history of up from .*: it answers 500, internal: disk is full; is Prom/,
  );
  expect(dying.asked).toHaveLength(8);
  const nobody = `http://127.0.0.1:${await freePort()}`;
  expect(await fault(nobody)).toContain('ECONNREFUSED; is Prometheus there');
});

test('a broken connection is tried again', async () => {
  let broken = 2;
  const { url } = await server((asked, response) => {
    if (asked.path === 'query_range' && broken-- > 0) response.destroy();
    else answerUp([{ __name__: 'up' }])(asked, response);
  });
  expect(await read(url)).toMatchObject({ retries: 2, points: 600 });
});

test('what exceeds a limit of the server, or ours, is asked for in shorter chunks', async () => {
  const good = answerUp([{ __name__: 'up' }]);
  const steps = ({ parameters: { start, end } }: Asked) => Number(end) - Number(start) + 1;
  const limits: Answer[] = [
    (_asked, response) =>
      sendFault(response, 422, ['execution', 'query processing would load too many samples']),
    (_asked, response) =>
      sendFault(response, 400, ['bad_data', 'exceeded maximum resolution of 11,000 points']),
    (_asked, response) => sendFault(response, 503, ['timeout', 'query timed out']),
    (_asked, response) =>
      response.writeHead(200).end(Buffer.alloc(RANGE_ANSWER_BYTES_MAX + 1, ' ')),
  ];
  for (const limit of limits) {
    const { url } = await server((asked, response) => {
      if (asked.path === 'query_range' && steps(asked) > 200) limit(asked, response);
      else good(asked, response);
    });
    expect(await read(url)).toMatchObject({ points: 600, series: 1 });
  }
  const [, , late, large] = limits as [Answer, Answer, Answer, Answer];
  const always = (limit: Answer) =>
    server((asked, response) => (asked.path === 'query' ? good : limit)(asked, response));
  expect(await fault((await always(late)).url)).toContain(
    'timeout: query timed out; select fewer series, or a query that is cheaper',
  );
  expect(await fault((await always(large)).url, { endMs: 3000 })).toContain('even one step of it');
});

test("what will not succeed is told at once in Prometheus' own words", async () => {
  const ok = async (answer: Answer, want: string | RegExp) => {
    const served = await server(answer);
    expect(await fault(served.url)).toMatch(want);
    expect(served.asked.length).toBeLessThanOrEqual(4);
  };
  const good = answerUp([{ __name__: 'up' }]);
  await ok(
    (_asked, response) => sendFault(response, 400, ['bad_data', 'parse error: unexpected end']),
    /^prometheus_refused: .*: it answers 400, bad_data: parse error: unexpected end$/,
  );
  await ok(
    (_asked, response) =>
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('404 page not found'),
    'it answers 404: 404 page not found',
  );
  const html = { 'Content-Type': 'text/html; charset=utf-8' };
  await ok(
    (_asked, response) => response.writeHead(200, html).end('<html>Sign in'),
    'it answers 200 with text/html, which is no answer of the Prometheus API',
  );
  await ok(
    (_asked, response) => response.writeHead(401).end(),
    'answers 401: no or no valid credential',
  );
  await ok(
    (_asked, response) => response.writeHead(302, { Location: 'http://me:secret@other/x' }).end(),
    /it redirects to http:\/\/<hidden>@other\/x; give the address that answers itself$/,
  );
  for (const data of [
    { resultType: 'vector', result: [] },
    { resultType: 'matrix', result: [{ metric: {}, values: [[1, 2]] }] },
    'no',
  ]) {
    await ok((asked, response) => {
      if (asked.path === 'query') good(asked, response);
      else sendSuccess(response, data as object);
    }, 'its answer is no matrix');
  }
});

test('too many series are refused with their number, before they are read where they can be counted', async () => {
  const many: Answer = (asked, response) => {
    const value = [0, asked.parameters['time'] === '0.000' ? '200000' : '3'];
    sendSuccess(response, { resultType: 'vector', result: [{ metric: {}, value }] });
  };
  const counted = await server(many);
  expect(await fault(counted.url)).toMatch(
    /^input_invalid: up brings 200000 series, at most 50000 are read at once; select fewer by labels, or aggregate/,
  );
  expect(ranges(counted)).toEqual([]);
  const metrics = Array.from({ length: 5 }, (_, at) => ({ pod: String(at) }));
  const { url } = await server((asked, response) => {
    answerUp(asked.path === 'query' ? metrics.slice(0, 2) : metrics)(asked, response);
  });
  expect(await fault(url, {}, { seriesMax: 4 })).toContain('brings more than 4 series');
  expect(await read(url, {}, { seriesMax: 5 })).toMatchObject({ series: 5 });
});

test('a query without a result, and one that has histograms alone, are told apart', async () => {
  const answering = (result: object[]) =>
    server(({ path }, response) => {
      const resultType = path === 'query' ? 'vector' : 'matrix';
      sendSuccess(response, { resultType, result: path === 'query' ? [] : result });
    });
  expect(await fault((await answering([])).url)).toMatch(
    /^input_invalid: up matches nothing from 1970-01-01T00:00:00Z to 1970-01-01T00:09:59Z; look at/,
  );
  const native = { metric: { __name__: 'wait' }, histograms: [[0, { count: '1', sum: '2' }]] };
  expect(await fault((await answering([native])).url)).toContain(
    '1 native histograms and no values; ask for histogram_quantile',
  );
  const mixed = await answering([native, { metric: {}, values: [[0, '1']] }]);
  expect(await read(mixed.url)).toMatchObject({ series: 1, histograms: 1 });
});

test('warnings and partial answers are handed on, each once', async () => {
  const { url } = await server(({ path }, response) => {
    const resultType = path === 'query' ? 'vector' : 'matrix';
    const result = path === 'query' ? [] : [{ metric: {}, values: [[0, '1']] }];
    sendSuccess(
      response,
      { resultType, result },
      { warnings: ['store is\naway'], isPartial: true },
    );
  });
  const { warnings } = await read(url, { endMs: 30_000_000 });
  expect(warnings).toEqual(['The answer is partial: some of its storage is away', 'store is away']);
});

test('a range that holds no step, or too many, is refused before anybody is asked', async () => {
  const { url, asked } = await server(answerUp([]));
  expect(await fault(url, { startMs: 1, endMs: 999 })).toContain('there is no step of 1000 ms');
  expect(await fault(url, { endMs: 530_000_000 })).toContain('530001 steps from');
  expect(asked).toEqual([]);
});

test('requests are apart from each other, and credentials and long queries travel as they should', async () => {
  const { url, asked } = await server(answerUp([{ __name__: 'up' }]));
  const api = openPrometheusApi(url.replace('//', '//me:p%40ss@'));
  const waits: number[] = [];
  const taker = { series() {}, points() {} };
  const sleep = async (ms: number) => {
    waits.push(ms);
  };
  await readRange(api, WANTED, taker, { clock: () => 0, sleep });
  expect(waits).toEqual([100, 100, 100]);
  expect(api.address).toBe(url);
  expect(asked[0]?.authorization).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  expect(asked[0]?.method).toBe('GET');
  const query = `up # ${'x'.repeat(5000)}`;
  const token = openPrometheusApi(url, () => 'Bearer abc');
  await token.ask('query', { query });
  expect(asked.at(-1)).toMatchObject({
    method: 'POST',
    authorization: 'Bearer abc',
    parameters: { query },
  });
});

test('a request can be given up, and a late one is away', async () => {
  const { url } = await server(() => {});
  const api = openPrometheusApi(url);
  const signal = AbortSignal.timeout(20);
  await expect(api.ask('query', {}, { signal })).rejects.toThrow();
  expect(await api.ask('query', {}, { answerMsMax: 20 })).toMatchObject({
    kind: 'away',
    isLate: true,
    reason: 'no answer within 0.02 s',
  });
});
