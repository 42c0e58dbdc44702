// The api role over HTTP on a log and a store in memory: what it shows, what it refuses and how, what it keeps through a
// restart, and what its OpenAPI document says of all that.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { OperatingError } from '../src/errors.js';
import { placeOf } from '../src/path-groups.js';
import { type ApiSite, openApiSite } from './api-site.js';
import { candidatesOf, type Told } from './candidates.js';

let site: ApiSite;
const get = (path: string) => site.get(path);

const told: Told[] = [1, 2, 3, 4, 5].map((i) => ({
  labels: { __name__: 'up', job: `job-${i % 2}`, instance: `host-${i}` },
  onset: 1000 * i,
  ...(i !== 5 && { end: 1000 * i + 500 }),
}));

const onsets = async (query: string) => {
  const { body } = await get(`/anomalies?${query}`);
  return body.anomalies.map(({ onset }: { onset: string }) => Date.parse(onset));
};

beforeAll(async () => {
  site = await openApiSite({ partitions: 2 });
  expect((await site.server.inject({ url: '/-/ready' })).body).toBe(
    'Not ready\napi: not started\n',
  );
  for (const [index, one] of told.entries()) await site.append(index % 2, candidatesOf(one));
  await site.start();
});

afterAll(() => site.stop());

test('anomalies are listed newest first, and filtered by state, time and labels', async () => {
  expect(await onsets('')).toEqual([5000, 4000, 3000, 2000, 1000]);
  expect(await onsets('state=open')).toEqual([5000]);
  expect(await onsets('state=closed&limit=2')).toEqual([4000, 3000]);
  expect(await onsets('start=3.6&end=4.2')).toEqual([4000]);
  expect(await onsets('start=1970-01-01T00:00:04.9Z')).toEqual([5000]);
  const matching = (selector: string) => onsets(`match[]=${encodeURIComponent(selector)}`);
  expect(await matching('{job="job-0"}')).toEqual([4000, 2000]);
  expect(await matching('{job=~"job"}')).toEqual([]);
  expect(await matching('up{job=~"job-.*"}')).toHaveLength(5);
  expect(await onsets('match[]=%7Bjob="job-0"%7D&match[]=%7Binstance="host-5"%7D')).toEqual([
    5000, 4000, 2000,
  ]);
});

test('pages follow one another by cursor, also when anomalies are added meanwhile', async () => {
  for (const path of ['anomalies', 'incidents', 'incidents?order=rank']) {
    const seen: string[] = [];
    const join = path.includes('?') ? '&' : '?';
    for (let url = `/${path}${join}limit=2`; url !== ''; ) {
      const { body } = await get(url);
      const rows = body[path.split('?')[0] as string] as { id: string }[];
      seen.push(...rows.map(({ id }) => id));
      url = body.cursor === undefined ? '' : `/${path}${join}limit=2&cursor=${body.cursor}`;
    }
    const all = (await get(`/${path}`)).body;
    const rows = (all.anomalies ?? all.incidents) as { id: string }[];
    expect([path, seen]).toEqual([path, rows.map(({ id }) => id)]);
  }
});

test('one anomaly has its whole story', async () => {
  const { body } = await get('/anomalies?limit=1');
  const [row] = body.anomalies;
  expect((await get(`/anomalies/${row.id}`)).body).toEqual(row);
  expect(row).toMatchObject({
    state: 'open',
    onset: '1970-01-01T00:00:05.000Z',
    end: null,
    score: 2,
    value: 50,
    expected: 10,
    lower: 5,
    upper: 15,
    factor: 5,
    cause: 'magnitude',
    verdict: 'unchecked',
    feedback: null,
    series: 'up{instance="host-5", job="job-1"}',
    labels: { __name__: 'up', job: 'job-1', instance: 'host-5' },
    explanation: expect.stringContaining('rose to 50, 5 times the expected 10 (usual 5 to 15)'),
  });
  expect((await get(`/incidents/${row.incident}`)).body.members).toContainEqual(row);
});

test('an incident is found by the id of any of its anomalies', async () => {
  const { body } = await get('/incidents');
  // Two jobs, each with all of its hosts.
  expect(body.incidents).toHaveLength(2);
  const [four, five] = body.incidents;
  expect(five).toMatchObject({
    state: 'open',
    series: 3,
    anomalies: 3,
    entities: ['instance=host-1', 'instance=host-3', 'instance=host-5'],
    firstMover: { series: 'up{instance="host-1", job="job-1"}', entity: 'instance=host-1' },
    notification: 'shadow',
  });
  expect(four).toMatchObject({ state: 'closed', end: '1970-01-01T00:00:04.500Z', series: 2 });
  const story = (await get(`/incidents/${five.id}`)).body;
  for (const { id, incident } of story.members) {
    expect(incident).toBe(five.id);
    expect((await get(`/incidents/i-${id}`)).body.id).toBe(five.id);
  }
  expect((await get('/incidents?state=open')).body.incidents).toEqual([five]);
  expect((await get('/incidents?notification=held')).body.incidents).toEqual([]);
  expect((await get('/incidents?order=rank&limit=1')).body.incidents).toEqual([five]);
  const only = encodeURIComponent('{instance="host-4"}');
  expect((await get(`/incidents?match[]=${only}`)).body.incidents).toEqual([four]);
});

test('a request that cannot be understood is 400 and says what was expected', async () => {
  const bad = async (query: string, sentence: string) => {
    const { statusCode, body } = await get(query);
    expect([query, statusCode]).toEqual([query, 400]);
    expect(body.error).toContain(sentence);
  };
  for (const list of ['anomalies', 'incidents']) {
    await bad(
      `/${list}?state=maybe`,
      'state must be equal to one of the allowed values: open, closed',
    );
    await bad(`/${list}?limit=0`, 'limit must be >= 1');
    await bad(`/${list}?limit=1001`, 'limit must be <= 1000');
    await bad(`/${list}?limit=ten`, 'limit must be integer');
    await bad(`/${list}?start=yesterday`, 'expected RFC 3339');
    await bad(`/${list}?cursor=gone`, 'begin again');
    await bad(`/${list}?state=open&state=closed`, 'state must be');
    await bad(`/${list}?match[]=%7B`, 'Cannot read the selector');
    await bad(`/${list}?match[]=${encodeURIComponent('{a=~"(x+)+"}')}`, 'may take too long');
    await bad(`/${list}?match[]=${'x'.repeat(3000)}`, 'must NOT have more than 2048');
  }
  await bad('/incidents?order=size', 'allowed values: time, rank');
  await bad('/series?cursor=x', 'cursor is not ours');
  await bad('/series?limit=9999', 'limit must be <= 1000');
});

test('what is not known is 404 with a sentence', async () => {
  for (const path of [
    '/anomalies/nothing',
    '/incidents/nothing',
    '/series/nonsense',
    '/series/00000000000000ab',
  ]) {
    const { statusCode, body } = await get(path);
    expect([path, statusCode]).toEqual([path, 404]);
    expect(body.error).toMatch(/^No such (anomaly|incident|series) is known here$/);
  }
});

test('series and status come from whoever owns them', async () => {
  expect((await get('/series?limit=3')).body).toEqual({ series: [{ limit: 3 }], cursor: '0.7' });
  expect((await get('/series/00000000000000aa')).body).toEqual({ fingerprint: '00000000000000aa' });
  const { body } = await get('/status?stateHash=now');
  expect(body).toMatchObject({
    version: '0',
    anomalies: 5,
    incidents: 2,
    logId: site.log.id,
    alerts: { mode: 'auto', isShadow: true, budget: 5, notifiedLastDay: 0 },
    control: { feedback: 0, maintenance: 0 },
    partitions: [{ withHash: true }],
  });
});

test('what is not there is 404 in plain text; readiness lists each check', async () => {
  const { server } = site;
  const answer = await server.inject({ url: '/detect' });
  expect([answer.statusCode, answer.body]).toEqual([404, 'No route GET /detect\n']);
  expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  for (const url of ['/-/ready', '/ready', '/readyz']) {
    expect((await server.inject({ url })).body).toBe('Ready\napi: ready\n');
  }
  expect((await server.inject({ url: '/-/healthy' })).statusCode).toBe(200);
});

test('numbers that JSON does not know are null', async () => {
  const labels = { __name__: 'odd', instance: 'host-9' };
  const odd = {
    labels,
    onset: 900,
    end: 950,
    value: Number.POSITIVE_INFINITY,
    expected: Number.NaN,
  };
  await site.append(0, candidatesOf(odd));
  const { body } = await site.until(
    () => get('/anomalies?match[]=odd'),
    ({ body }) => body.anomalies[0]?.score === 2,
  );
  expect(body.anomalies[0]).toMatchObject({ value: null, expected: null, factor: null, score: 2 });
});

test('after a restart everything is there, although the candidates are gone', async () => {
  const other = await openApiSite({ partitions: 2 });
  for (const [index, one] of told.entries()) await other.append(index % 2, candidatesOf(one));
  await other.start();
  const pages = ['/anomalies', '/incidents', '/incidents?order=rank'];
  const before = await Promise.all(pages.map((page) => other.get(page)));
  await other.stop();
  for (const partition of [0, 1]) other.log.deleteBelow('candidates', partition, 100);
  const again = await openApiSite({ partitions: 2, after: other });
  await again.start();
  expect(await Promise.all(pages.map((page) => again.get(page)))).toEqual(before);
  // What was deleted had been read: there is no gap. What comes now is folded in.
  expect(await again.metric('treeline_log_gap_records_total')).toBe(0);
  await again.append(0, candidatesOf({ ...(told[4] as Told), end: 9000 }).slice(-1));
  const closed = await again.until(
    () => again.get('/anomalies?limit=1'),
    ({ body }) => body.anomalies[0].state === 'closed',
  );
  expect(closed.body.anomalies[0].end).toBe('1970-01-01T00:00:09.000Z');
  await again.stop();
});

test('the OpenAPI document describes every route, and the page shows it', async () => {
  const { server } = site;
  const answer = await server.inject({ url: '/openapi.json' });
  expect(answer.statusCode).toBe(200);
  const document = answer.json();
  expect(document.openapi).toBe('3.1.0');
  const shown = Object.keys(document.paths).map((path) => path.replace('/anomaly/v1', ''));
  expect(shown.sort()).toEqual(
    [
      '/anomalies',
      '/anomalies/{id}',
      '/feedback',
      '/feedback/{id}',
      '/incidents',
      '/incidents/{id}',
      '/maintenance',
      '/maintenance/{id}',
      '/series',
      '/series/{fingerprint}',
      '/status',
      '/stream',
    ].sort(),
  );
  for (const [path, methods] of Object.entries<Record<string, Record<string, object>>>(
    document.paths,
  )) {
    for (const [method, operation] of Object.entries(methods)) {
      expect([path, method, Object.keys(operation)]).toEqual([
        path,
        method,
        expect.arrayContaining(['summary', 'tags', 'responses']),
      ]);
      expect(Object.keys(operation['responses'] ?? {})).toEqual(
        expect.arrayContaining(['400', '401', '403']),
      );
    }
  }
  expect(Object.keys(document.components.securitySchemes)).toEqual(['bearer', 'basic']);
  const page = await server.inject({ url: '/docs/' });
  expect([page.statusCode, page.headers['content-type']]).toEqual([
    200,
    'text/html; charset=utf-8',
  ]);
  expect(page.headers['content-security-policy']).toContain("script-src 'self'");
  expect((await server.inject({ url: '/docs/static/swagger-ui-bundle.js' })).statusCode).toBe(200);
});

test('what is said of series is the operator’s of one tenant; documents are nobody’s', () => {
  const ok = (method: string, path: string, want: object) =>
    expect([method, path, placeOf(method, path)]).toEqual([method, path, want]);
  for (const list of ['feedback', 'maintenance']) {
    ok('GET', `/anomaly/v1/${list}`, { group: 'read', scope: 'tenant' });
    ok('POST', `/anomaly/v1/${list}`, { group: 'admin', scope: 'tenant' });
    ok('DELETE', `/anomaly/v1/${list}`, { group: 'admin', scope: 'tenant' });
    ok('DELETE', `/anomaly/v1/${list}/:id`, { group: 'admin', scope: 'tenant' });
  }
  ok('GET', '/anomaly/v1/stream', { group: 'read', scope: 'tenant' });
  ok('POST', '/-/reload', { group: 'admin', scope: 'nobody' });
  for (const path of ['/docs', '/docs/', '/docs/static/*', '/openapi.json']) {
    ok('GET', path, { group: 'read', scope: 'nobody' });
  }
});

test('what is decided is stored before anybody hears of it, and a store that is away is waited for', async () => {
  const settings = { alerts: { mode: 'live' as const, budget: 5 } };
  const other = await openApiSite({ settings });
  await other.start();
  const heard: string[] = [];
  const stream = other.server.inject({ url: '/anomaly/v1/stream' });
  void stream.then(({ body }) => heard.push(body));
  const put = other.store.put.bind(other.store);
  let refused = 0;
  other.store.put = async (key, value) => {
    if (!key.startsWith('notice/') || refused >= 3) return put(key, value);
    refused++;
    throw new OperatingError('disk_full', 'Cannot write');
  };
  await other.append(0, candidatesOf(told[0] as Told));
  await other.until(
    async () => [...other.entries.keys()],
    (keys) => keys.some((key) => key.startsWith('notice/')),
  );
  expect(refused).toBe(3);
  await other.stop();
  expect((await stream).body.match(/^event: incident$/gm)).not.toBeNull();
  expect(heard[0]).toContain('"notification":"notified"');
});
