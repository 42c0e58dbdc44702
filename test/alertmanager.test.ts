// Incidents in a real Alertmanager: they appear, reach its receiver, are the same ones after a restart of ours, and are
// resolved. And what becomes of them when it is away, refuses, or does not answer.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, expect, test } from 'vitest';
import { type Alert, AlertSender } from '../src/api/alertmanager.js';
import { ALERT_ENDED_MS, ALERT_GOOD_MS, ALERT_RESEND_MS } from '../src/limits.js';
import { type ApiSite, openApiSite, quiet } from './api-site.js';
import { anomalyId, candidatesOf, type Told } from './candidates.js';
import { startAlertmanager } from './peers.js';
import { endPrograms, eventually } from './programs.js';

afterAll(endPrograms);
let closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});

interface Received {
  status: string;
  alerts: { status: string; labels: Record<string, string>; annotations: Record<string, string> }[];
}

/** A server of ours that keeps what it is sent; `answer` says how it answers. */
async function listen(
  answer: () => number | Promise<number> = () => 200,
): Promise<{ url: string; bodies: unknown[] }> {
  const bodies: unknown[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      bodies.push(JSON.parse(Buffer.concat(chunks).toString()));
      response.statusCode = await answer();
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies };
}

test('an incident appears in Alertmanager, is the same one after our restart, and is resolved', {
  timeout: 120_000,
}, async () => {
  const hook = await listen();
  const alertmanager = await startAlertmanager({ webhookUrl: hook.url });
  closing.push(() => alertmanager.stop());
  const settings = {
    alerts: { mode: 'live' as const, budget: 5 },
    alertmanagers: [alertmanager.url],
  };
  const site = (after?: ApiSite) =>
    openApiSite({ settings, clock: Date.now, ...(after !== undefined && { after }) });
  const first = await site();
  const onset = Date.now() - 60_000;
  const labels = { __name__: 'queue_depth', namespace: 'shop', pod: 'db-0', 'odd.name': 'x' };
  const told: Told = { labels, onset, value: 118, expected: 12, band: [9, 15], score: 4 };
  const beside: Told = { labels: { ...labels, __name__: 'latency' }, onset: onset + 1000 };
  await first.append(0, [...candidatesOf(told), ...candidatesOf(beside)]);
  // History that is being read is not news.
  const old = { labels: { ...labels, namespace: 'old' }, onset: onset - 5 * 3_600_000 };
  await first.append(0, candidatesOf(old));
  await first.start();
  const [shown] = await eventually('the alert to appear', 20_000, async () => {
    const alerts = await alertmanager.alerts();
    return alerts.length > 0 ? alerts : undefined;
  });
  expect(shown?.labels).toEqual({
    alertname: 'Anomaly',
    incident: `i-${anomalyId(told)}`,
    namespace: 'shop',
    pod: 'db-0',
    severity: 'critical',
    source_metric: 'queue_depth',
  });
  expect(Date.parse(shown?.startsAt ?? '')).toBe(onset);
  expect(shown?.annotations['summary']).toContain(
    'queue_depth of namespace=shop pod=db-0 rose to 118',
  );
  expect(Date.parse(shown?.endsAt ?? '')).toBeGreaterThan(Date.now() + ALERT_RESEND_MS);
  const hooked = (status: string) =>
    eventually(`the receiver to hear of ${status}`, 20_000, async () =>
      (hook.bodies as Received[]).find((body) => body.status === status),
    );
  expect((await hooked('firing')).alerts).toHaveLength(1);
  await first.stop();

  const second = await site(first);
  await second.start();
  await eventually('it to be sent again', 20_000, async () =>
    (await second.metric('treeline_alerts_total', { outcome: 'accepted' })) > 0 ? true : undefined,
  );
  const again = await alertmanager.alerts();
  expect(again.map(({ fingerprint }) => fingerprint)).toEqual([shown?.fingerprint]);
  const end = Date.now();
  await second.append(0, candidatesOf({ ...told, end }).slice(-1));
  await second.append(0, candidatesOf({ ...beside, end }).slice(-1));
  const resolved = await hooked('resolved');
  expect(resolved.alerts.map(({ labels: { incident } }) => incident)).toEqual([
    `i-${anomalyId(told)}`,
  ]);
  await second.stop();
});

test('an Alertmanager that comes back hears of what fires', { timeout: 60_000 }, async () => {
  const hook = await listen();
  const gone = await startAlertmanager({ webhookUrl: hook.url });
  const { port, url } = gone;
  await gone.stop();
  const alerts = [alertOf('a')];
  const sender = senderOf([url], () => alerts);
  sender.wake();
  await eventually('a failure', 10_000, async () => (sender.counts.failed > 0 ? true : undefined));
  const back = await startAlertmanager({ webhookUrl: hook.url, port });
  closing.push(() => back.stop());
  await eventually('the alert to appear', 20_000, async () => {
    sender.wake();
    return (await back.alerts()).length === 1 ? true : undefined;
  });
  expect(sender.counts).toMatchObject({ accepted: 1, refused: 0, dropped: 0 });
});

function alertOf(key: string): Alert {
  return {
    key,
    labels: { alertname: 'Anomaly', incident: key },
    annotations: {},
    startsMs: Date.now(),
  };
}

function senderOf(
  urls: readonly string[],
  firing: () => readonly Alert[],
  clock: () => number = Date.now,
): AlertSender {
  const sender = new AlertSender({ urls, firing, ended: () => [], clock, logger: quiet });
  closing.push(() => sender.stop());
  return sender;
}

type Sent = { labels: { incident: string }; endsAt: string }[];

test('what fires is sent every minute, and good for four; what ended is sent once more', async () => {
  const { url, bodies } = await listen();
  let now = 1_000_000;
  let alerts = [alertOf('a')];
  const sender = senderOf(
    [url],
    () => alerts,
    () => now,
  );
  const sent = async (count: number) => {
    sender.wake();
    await eventually(`${count} requests`, 5_000, async () =>
      sender.counts.accepted === count ? true : undefined,
    );
    return (bodies as Sent[]).map((body) => Date.parse(body[0]?.endsAt ?? ''));
  };
  expect(await sent(1)).toEqual([now + ALERT_GOOD_MS]);
  now += ALERT_RESEND_MS - 1;
  expect(await sent(1)).toHaveLength(1);
  now += 1;
  expect((await sent(2)).at(-1)).toBe(now + ALERT_GOOD_MS);
  now += 5_000;
  alerts = [];
  expect((await sent(3)).at(-1)).toBe(now);
  now += 10 * ALERT_RESEND_MS;
  expect(await sent(3)).toHaveLength(3);
});

test('a receiver that refuses or does not answer costs the others nothing', async () => {
  const refusing = await listen(() => 400);
  const failing = await listen(() => 503);
  const silent = await listen(() => new Promise<number>(() => {}));
  const good = await listen();
  const alerts = [alertOf('a'), alertOf('b')];
  const sender = senderOf([refusing.url, failing.url, silent.url, good.url], () => alerts);
  for (let i = 0; i < 3; i++) {
    sender.wake();
    await new Promise((turn) => setTimeout(turn, 100));
  }
  expect(good.bodies).toHaveLength(1);
  // Refused once, and again only when it is sent anew.
  expect(refusing.bodies).toHaveLength(1);
  expect(silent.bodies).toHaveLength(1);
  expect(failing.bodies).toHaveLength(3);
  expect(sender.counts).toEqual({ accepted: 2, refused: 2, failed: 6, dropped: 0 });
});

test('what ended while a receiver was away is dropped once the receiver let it end by itself', async () => {
  let status = 200;
  const { url } = await listen(() => status);
  let now = 1_000_000;
  let alerts = [alertOf('a')];
  const sender = senderOf(
    [url],
    () => alerts,
    () => now,
  );
  const until = async (isDone: () => boolean) => {
    sender.wake();
    await eventually('it', 5_000, async () => (isDone() ? true : undefined));
  };
  await until(() => sender.counts.accepted === 1);
  status = 503;
  alerts = [];
  await until(() => sender.counts.failed === 1);
  now += ALERT_GOOD_MS + 1;
  await until(() => sender.counts.dropped === 1);
  expect(sender.counts).toEqual({ accepted: 1, refused: 0, failed: 1, dropped: 1 });
});

test('whoever sends from now on tells of what ended while nobody did', async () => {
  const { url, bodies } = await listen();
  const now = 1_000_000;
  let permit: AbortSignal | undefined;
  const asked: number[] = [];
  // Its last sample; that it was the last one is known five samples later.
  const endsMs = now - 6 * 60_000;
  const sender = new AlertSender({
    urls: [url],
    firing: () => [],
    ended: (sinceMs) => {
      asked.push(sinceMs);
      return [{ alert: alertOf('a'), endsMs }];
    },
    clock: () => now,
    logger: quiet,
    permit: () => permit,
  });
  closing.push(() => sender.stop());
  sender.wake();
  expect(asked).toEqual([]);
  permit = new AbortController().signal;
  sender.wake();
  await eventually('it to be sent', 5_000, async () =>
    sender.counts.accepted === 1 ? true : undefined,
  );
  sender.wake();
  expect(asked).toEqual([now - ALERT_ENDED_MS]);
  const [[sent]] = bodies as [Sent];
  expect([sent?.labels.incident, Date.parse(sent?.endsAt ?? '')]).toEqual(['a', endsMs]);
});

test('what ends while it is on its way is told to have ended', async () => {
  let arrive = () => {};
  const answers = [
    new Promise<number>((resolve) => {
      arrive = () => resolve(200);
    }),
  ];
  const { url, bodies } = await listen(() => answers.shift() ?? 200);
  let alerts = [alertOf('a')];
  const sender = senderOf([url], () => alerts);
  sender.wake();
  await eventually('it to be on its way', 5_000, async () =>
    bodies.length === 1 ? true : undefined,
  );
  alerts = [];
  const endedMs = Date.now();
  sender.wake();
  arrive();
  await eventually('both to be taken', 5_000, async () =>
    sender.counts.accepted === 2 ? true : undefined,
  );
  const [, [end] = []] = bodies as Sent[];
  expect(end?.labels.incident).toBe('a');
  expect(Date.parse(end?.endsAt ?? '')).toBeGreaterThanOrEqual(endedMs);
  expect(Date.parse(end?.endsAt ?? '')).toBeLessThanOrEqual(Date.now());
});
