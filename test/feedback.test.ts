// What people tell Treeline, over HTTP: false alarms that do not come again and larger ones that do, accepted shifts,
// undo, expiry; maintenance windows; and that all of it survives a restart and belongs to its tenant alone.

import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, expect, test } from 'vitest';
import { ControlSchema } from '../src/gen/control_pb.js';
import { CONTROL_SELECTORS_MAX } from '../src/limits.js';
import { type ApiSite, openApiSite } from './api-site.js';
import { anomalyId, candidatesOf, type Told } from './candidates.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LABELS = { __name__: 'queue', job: 'shop', instance: 'a' };
const live = { alerts: { mode: 'live' as const, budget: 5 } };

let sites: ApiSite[] = [];
afterEach(async () => {
  for (const site of sites) await site.stop();
  sites = [];
});

async function open(options: Parameters<typeof openApiSite>[0] = {}): Promise<ApiSite> {
  const site = await openApiSite({ settings: live, ...options });
  sites.push(site);
  await site.start();
  return site;
}

/** A spike of this height above what was expected, ended. Resolves with what was decided of it. */
async function spike(site: ApiSite, onset: number, fields: Partial<Told> = {}): Promise<string> {
  const told = { labels: LABELS, onset, end: onset + 60_000, value: 20, ...fields };
  await site.append(0, candidatesOf(told));
  return outcomeOf(site, anomalyId(told));
}

async function outcomeOf(site: ApiSite, id: string): Promise<string> {
  const { body } = await site.until(
    () => site.get(`/incidents/i-${id}`),
    ({ statusCode, body }) => statusCode === 200 && body.notification !== 'pending',
  );
  return body.notification;
}

test('after a false alarm the same shape does not notify, one twice as large does, undo restores', async () => {
  const site = await open();
  expect(await spike(site, DAY)).toBe('notified');
  const anomaly = anomalyId({ labels: LABELS, onset: DAY });
  const said = await site.send('POST', '/feedback', {
    kind: 'false-alarm',
    anomaly,
    comment: 'nightly job',
  });
  expect(said).toMatchObject({
    statusCode: 201,
    body: { kind: 'false-alarm', anomaly, match: [], comment: 'nightly job' },
  });
  expect((await site.get(`/anomalies/${anomaly}`)).body.feedback).toBe('false-alarm');
  expect(await spike(site, 2 * DAY)).toBe('dismissed');
  expect(await spike(site, 2 * DAY + HOUR, { value: 24 })).toBe('dismissed');
  expect(await spike(site, 3 * DAY, { value: 30 })).toBe('notified');
  // The other way, and other series, are something else.
  expect(await spike(site, 4 * DAY, { value: 0 })).toBe('notified');
  expect(await spike(site, 5 * DAY, { labels: { ...LABELS, job: 'other' } })).toBe('notified');
  expect((await site.send('DELETE', `/feedback/${said.body.id}`)).statusCode).toBe(204);
  expect((await site.get('/feedback')).body.feedback).toEqual([]);
  expect(await spike(site, 6 * DAY)).toBe('notified');
  expect((await site.send('DELETE', `/feedback/${said.body.id}`)).statusCode).toBe(404);
});

test('the latest word holds: what is confirmed notifies again', async () => {
  let now = 10 * DAY;
  const site = await open({ clock: () => now++ });
  await spike(site, DAY);
  const anomaly = anomalyId({ labels: LABELS, onset: DAY });
  await site.send('POST', '/feedback', { kind: 'false-alarm', anomaly });
  expect(await spike(site, 2 * DAY)).toBe('dismissed');
  await site.send('POST', '/feedback', { kind: 'confirmed', anomaly });
  expect(await spike(site, 3 * DAY)).toBe('notified');
  await site.send('POST', '/feedback', { kind: 'false-alarm', anomaly });
  expect(await spike(site, 4 * DAY)).toBe('dismissed');
});

test('a word on an entity holds for its series, in their own units', async () => {
  const site = await open();
  await spike(site, DAY);
  const anomaly = anomalyId({ labels: LABELS, onset: DAY });
  const said = await site.send('POST', '/feedback', {
    kind: 'false-alarm',
    scope: 'entity',
    anomaly,
  });
  expect(said.body.match).toEqual(['{"instance"="a"}']);
  // Two halves of the band above what was expected, as the marked one.
  const bytes = {
    labels: { ...LABELS, __name__: 'bytes' },
    expected: 1e9,
    band: [0.9e9, 1.1e9] as const,
  };
  expect(await spike(site, 2 * DAY, { ...bytes, value: 1.2e9 })).toBe('dismissed');
  expect(await spike(site, 3 * DAY, { ...bytes, value: 1.5e9 })).toBe('notified');
  expect(await spike(site, 4 * DAY, { labels: { ...LABELS, instance: 'b' } })).toBe('notified');
});

test('a false alarm said of selectors holds for all of them, until it expires', async () => {
  const site = await open();
  const said = await site.send('POST', '/feedback', {
    kind: 'false-alarm',
    match: ['{job="shop"}'],
    expires: String((3 * DAY) / 1000),
  });
  expect(said.body).toMatchObject({ anomaly: null, expires: new Date(3 * DAY).toISOString() });
  expect(await spike(site, 2 * DAY, { value: 1000 })).toBe('dismissed');
  expect(await spike(site, 3 * DAY, { value: 1000 })).toBe('notified');
});

test('an accepted shift ends what is notified of it; the next one is news', async () => {
  const site = await open();
  const told = { labels: LABELS, onset: DAY, value: 20 };
  await site.append(0, candidatesOf(told));
  expect(await outcomeOf(site, anomalyId(told))).toBe('notified');
  await site.send('POST', '/feedback', { kind: 'accept-shift', anomaly: anomalyId(told) });
  const anomaly = site.api.timeline.anomalies.ordered('')[0];
  expect(anomaly && site.api.timeline.control.quiet(anomaly, DAY)).toBe('dismissed');
  expect(await spike(site, 2 * DAY)).toBe('notified');
});

test('during maintenance nobody is told; what lasts longer is told when it ends', async () => {
  const site = await open();
  const made = await site.send('POST', '/maintenance', {
    match: ['{instance="a"}'],
    start: String(DAY / 1000),
    end: String((DAY + HOUR) / 1000),
  });
  expect(made).toMatchObject({
    statusCode: 201,
    body: { mute: true, noLearn: false, weekly: null, active: false },
  });
  expect(await spike(site, DAY + 1000)).toBe('muted');
  expect((await site.get('/maintenance')).body.maintenance).toMatchObject([{ active: true }]);
  expect(await spike(site, DAY + 2000, { labels: { ...LABELS, instance: 'b', job: 'x' } })).toBe(
    'notified',
  );
  const long = { labels: { ...LABELS, __name__: 'long' }, onset: DAY + 40 * 60_000, value: 20 };
  await site.append(0, candidatesOf(long));
  expect(await outcomeOf(site, anomalyId(long))).toBe('muted');
  // Stream time passes the end of the window by what another series does.
  await spike(site, DAY + 2 * HOUR, { labels: { ...LABELS, instance: 'c', job: 'y' } });
  await site.until(
    () => outcomeOf(site, anomalyId(long)),
    (outcome) => outcome === 'notified',
  );
  expect((await site.send('DELETE', `/maintenance?id=${made.body.id}`)).statusCode).toBe(204);
  expect((await site.get('/maintenance')).body.maintenance).toEqual([]);
});

test('a window may come back every week, and may leave notifications alone', async () => {
  const site = await open();
  const weekly = { days: ['sat', 'sun'], from: '22:00', to: '04:00', timezone: 'Europe/Berlin' };
  const made = await site.send('POST', '/maintenance', {
    match: ['queue'],
    weekly,
    comment: 'backup',
  });
  expect(made.body).toMatchObject({ weekly, start: null, end: null, comment: 'backup' });
  const saturday = Date.parse('2026-01-10T21:30:00Z');
  expect(await spike(site, saturday)).toBe('muted');
  expect(await spike(site, saturday + 8 * HOUR)).toBe('notified');
  const other = { ...LABELS, __name__: 'other', instance: 'z', job: 'z' };
  await site.send('POST', '/maintenance', {
    match: ['other'],
    mute: false,
    noLearn: true,
    end: '9e9'.replace('9e9', '9000000000'),
  });
  expect(await spike(site, saturday + 9 * HOUR, { labels: other })).toBe('notified');
});

test('a restart changes nothing of what was said', async () => {
  const first = await open();
  await spike(first, DAY);
  const anomaly = anomalyId({ labels: LABELS, onset: DAY });
  await first.send('POST', '/feedback', { kind: 'false-alarm', anomaly });
  const undone = await first.send('POST', '/feedback', { kind: 'false-alarm', match: ['up'] });
  await first.send('DELETE', `/feedback/${undone.body.id}`);
  await first.send('POST', '/maintenance', {
    match: ['up'],
    weekly: { days: ['mon'], from: '01:00', to: '02:00' },
  });
  const read = (site: ApiSite) =>
    Promise.all(['/feedback', '/maintenance', '/incidents'].map((path) => site.get(path)));
  const before = await read(first);
  expect(before[0]?.body.feedback).toHaveLength(1);
  sites = [];
  await first.stop();
  const second = await open({ after: first });
  expect(await read(second)).toEqual(before);
  expect(await spike(second, 2 * DAY)).toBe('dismissed');
});

test('what cannot be meant is refused with a sentence', async () => {
  const site = await open();
  await spike(site, DAY);
  const anomaly = anomalyId({ labels: LABELS, onset: DAY });
  const bad = async (path: string, body: object, status: number, sentence: string) => {
    const answer = await site.send('POST', path, body);
    expect([body, answer.statusCode]).toEqual([body, status]);
    expect(answer.body.error).toContain(sentence);
  };
  await bad('/feedback', {}, 400, "must have required property 'kind'");
  await bad(
    '/feedback',
    { kind: 'meh', anomaly },
    400,
    'false-alarm, confirmed, missed, accept-shift',
  );
  await bad('/feedback', { kind: 'confirmed' }, 400, 'Give anomaly, or match');
  await bad('/feedback', { kind: 'confirmed', anomaly: 'nothing' }, 404, 'No such anomaly');
  await bad('/feedback', { kind: 'missed', anomaly }, 400, 'give match and start');
  await bad('/feedback', { kind: 'missed', match: ['up'] }, 400, 'match and start are needed');
  await bad('/feedback', { kind: 'confirmed', match: ['up'], scope: 'entity' }, 400, 'scope says');
  await bad('/feedback', { kind: 'confirmed', match: ['{'] }, 400, 'Cannot read the selector');
  await bad(
    '/feedback',
    { kind: 'false-alarm', anomaly, expires: 'soon' },
    400,
    'expected RFC 3339',
  );
  await bad(
    '/feedback',
    { kind: 'false-alarm', anomaly, comment: 'x'.repeat(501) },
    400,
    'more than 500',
  );
  const many = Array.from({ length: CONTROL_SELECTORS_MAX + 1 }, () => 'up');
  await bad(
    '/feedback',
    { kind: 'false-alarm', match: many },
    400,
    `more than ${CONTROL_SELECTORS_MAX}`,
  );
  await bad('/maintenance', { match: ['up'] }, 400, 'needs an end');
  await bad('/maintenance', { match: [], end: '1' }, 400, 'fewer than 1');
  await bad('/maintenance', { match: ['up'], end: '5', start: '6' }, 400, 'not after start');
  await bad('/maintenance', { match: ['up'], end: '5', mute: false }, 400, 'mute, noLearn');
  const weekly = { days: ['sat'], from: '22:00', to: '04:00' };
  await bad(
    '/maintenance',
    { match: ['up'], weekly: { ...weekly, timezone: 'Mars' } },
    400,
    'IANA',
  );
  await bad(
    '/maintenance',
    { match: ['up'], weekly: { ...weekly, from: '24:00' } },
    400,
    'must match pattern',
  );
  await bad(
    '/maintenance',
    { match: ['up'], weekly: { ...weekly, days: ['day'] } },
    400,
    'sun, mon',
  );
  expect((await site.get('/feedback')).body.feedback).toEqual([]);
});

test('what was missed is kept as it was said', async () => {
  const site = await open();
  const body = {
    kind: 'missed',
    match: ['queue'],
    start: '2026-01-01T00:00:00Z',
    end: '2026-01-01T01:00:00Z',
  };
  expect((await site.send('POST', '/feedback', body)).body).toMatchObject({
    kind: 'missed',
    match: ['queue'],
    start: '2026-01-01T00:00:00.000Z',
    end: '2026-01-01T01:00:00.000Z',
  });
  expect(await spike(site, DAY)).toBe('notified');
});

test('a tenant says nothing of another one, and hears nothing of it', async () => {
  const judge = ({ headers }: { headers: NodeJS.Dict<string | string[]> }) => ({
    tenant: String(headers['x-scope-orgid'] ?? ''),
    spend() {},
  });
  const site = await open({ judge: judge as never });
  const told = { labels: LABELS, onset: DAY, end: DAY + 1, tenant: 'a' };
  await site.append(0, candidatesOf(told));
  const as = (tenant: string) => ({ 'x-scope-orgid': tenant });
  const id = anomalyId(told);
  await site.until(
    () => site.get('/incidents', as('a')),
    ({ body }) => body.incidents.length === 1,
  );
  for (const path of [`/anomalies/${id}`, `/incidents/i-${id}`]) {
    expect((await site.get(path, as('a'))).statusCode).toBe(200);
    expect((await site.get(path, as('b'))).statusCode).toBe(404);
  }
  const post = (tenant: string, body: object) =>
    site.server.inject({
      method: 'POST',
      url: '/anomaly/v1/feedback',
      headers: as(tenant),
      payload: body,
    });
  expect((await post('b', { kind: 'false-alarm', anomaly: id })).statusCode).toBe(404);
  const said = await post('b', { kind: 'false-alarm', match: ['queue'] });
  expect(said.statusCode).toBe(201);
  expect((await site.get('/feedback', as('a'))).body.feedback).toEqual([]);
  const remove = (tenant: string) =>
    site.server.inject({
      method: 'DELETE',
      url: `/anomaly/v1/feedback/${said.json().id}`,
      headers: as(tenant),
    });
  expect((await remove('a')).statusCode).toBe(404);
  await site.append(0, candidatesOf({ ...told, onset: 2 * DAY, end: 2 * DAY + 1 }));
  const second = anomalyId({ ...told, onset: 2 * DAY });
  const shown = await site.until(
    () => site.get(`/incidents/i-${second}`, as('a')),
    ({ statusCode, body }) => statusCode === 200 && body.notification !== 'pending',
  );
  expect(shown.body.notification).toBe('notified');
  expect((await remove('b')).statusCode).toBe(204);
});

test('every partition of the control log gets a copy, in one order', async () => {
  const site = await open({ partitions: 3 });
  for (const start of ['1', '2', '3']) {
    await site.send('POST', '/feedback', { kind: 'missed', match: ['up'], start });
  }
  const copies = [0, 1, 2].map((partition) =>
    (site.log.remains.lanes.get(`control/${partition}`)?.records ?? []).map((bytes) => {
      const { what } = fromBinary(ControlSchema, bytes);
      return what.case === 'feedback' ? Number(what.value.startMs) : undefined;
    }),
  );
  expect(copies).toEqual([
    [1000, 2000, 3000],
    [1000, 2000, 3000],
    [1000, 2000, 3000],
  ]);
  expect((await site.get('/feedback')).body.feedback).toHaveLength(3);
});
