// The api role in the built program: what is told over HTTP is there after kill -9, a reload changes mode and budget, and a
// reader of the stream does not hold up the end.

import { writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { endPrograms, eventually, removeDirectory, temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { partitionsAtRest, startTreeline, type Treeline } from './treeline-process.js';

const MINUTE = 60_000;
const SAMPLES = 200;

afterAll(endPrograms);

interface Row {
  id: string;
  notification: string;
  state: string;
}

const incidentsOf = async (treeline: Treeline) =>
  (await treeline.json<{ incidents: Row[] }>('/anomaly/v1/incidents')).incidents;

test('anomalies, decisions and feedback outlive kill -9, and a reload goes live', {
  timeout: 120_000,
}, async () => {
  const directory = temporaryDirectory('api-process');
  const config = join(directory, 'treeline.yaml');
  writeFileSync(config, 'mode: shadow\n');
  const options = {
    dataDir: join(directory, 'd'),
    args: ['--config', config, '--verdicts', 'off'],
  };
  const first = await startTreeline(options);
  const sender = openSender(first.url);
  const random = randomOf(5);
  const begin = Math.floor(Date.now() / MINUTE - SAMPLES) * MINUTE;
  // Its fault lasts until the end: the incident is open.
  const points = Array.from(
    { length: SAMPLES },
    (_, i) => [begin + i * MINUTE, 10 + random() + (i >= SAMPLES - 4 ? 90 : 0)] as const,
  );
  const labels = { __name__: 'queue', namespace: 'shop', pod: 'db-0' };
  expect((await sender.send(writeBody([{ labels, points }]))).status).toBe(204);
  sender.close();
  await partitionsAtRest(first);
  const [shadow] = await eventually('the incident', 20_000, async () => {
    const rows = await incidentsOf(first);
    return rows.some(({ state }) => state === 'open') ? rows : undefined;
  });
  expect(shadow).toMatchObject({ state: 'open', notification: 'shadow' });
  const post = (path: string, body?: object) =>
    fetch(`${first.url}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  const said = await post('/anomaly/v1/feedback', { kind: 'missed', match: ['up'], start: '1' });
  expect(said.status).toBe(201);
  writeFileSync(config, 'mode: live\nalerts: { budget: 7 }\n');
  const reload = await fetch(`${first.url}/-/reload`, { method: 'POST' });
  expect(await reload.json()).toMatchObject({ changed: ['alerts.budget', 'mode'] });
  const notified = await eventually('the incident to be notified', 20_000, async () => {
    const rows = await incidentsOf(first);
    return rows[0]?.notification === 'notified' ? rows : undefined;
  });
  const feedback = await first.text('/anomaly/v1/feedback');
  await first.kill();

  const second = await startTreeline({ ...options, port: first.port });
  expect(await incidentsOf(second)).toEqual(notified);
  expect(await second.text('/anomaly/v1/feedback')).toBe(feedback);
  expect(await second.json('/anomaly/v1/status')).toMatchObject({
    alerts: { mode: 'live', budget: 7, notifiedLastDay: 1 },
    control: { feedback: 1 },
  });
  const reader = get(`${second.url}/anomaly/v1/stream`, { agent: false });
  const ended = new Promise((resolve) => {
    reader.on('response', (answer) =>
      answer.on('data', () => {}).on('end', () => resolve('ended')),
    );
  });
  await eventually('a reader', 5_000, async () => {
    const reading = (await second.metrics()).find(({ name }) => name === 'treeline_stream_readers');
    return reading?.value === 1 ? true : undefined;
  });
  const begun = Date.now();
  expect((await second.stop()).code).toBe(0);
  expect(Date.now() - begun).toBeLessThan(5_000);
  expect(await ended).toBe('ended');
  removeDirectory(directory);
});
