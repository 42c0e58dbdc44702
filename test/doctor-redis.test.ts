// `treeline doctor --local` on a real Redis: one that keeps what it is told, one that does not, one that refuses us, none.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { endPrograms, freePort, temporaryDirectory } from './programs.js';
import { startRedis } from './redis-peers.js';
import { selfSigned } from './self-signed.js';
import { runTreeline } from './treeline-process.js';

afterAll(endPrograms);

test('doctor says whether Redis answers, lets us in, and keeps what it is told', {
  timeout: 120_000,
}, async () => {
  const directory = temporaryDirectory('doctor-redis');
  const [password, ca] = [join(directory, 'password'), join(directory, 'ca.pem')];
  const doctor = async (...redis: string[]) => {
    const kafka = ['--log-kind', 'kafka', '--log-kafka-brokers', '127.0.0.1:1'];
    const args = ['doctor', '--local', '--data-dir', join(directory, 'none'), ...kafka, ...redis];
    const { stdout, code } = await runTreeline(args);
    return { code, lines: stdout.split('\n').filter((line) => line.includes('Redis')) };
  };
  const keeping = await startRedis();
  const kept = await doctor('--redis-address', keeping.address);
  expect(kept).toEqual({ code: 0, lines: [expect.stringContaining('answers')] });
  const forgetful = await startRedis({ forgets: true });
  const { code, lines } = await doctor('--redis-address', forgetful.address);
  expect([code, lines[1]]).toEqual([0, expect.stringContaining('set appendonly yes')]);
  const secured = { ...selfSigned('127.0.0.1'), password: 'right' };
  const guarded = await startRedis({ secured });
  writeFileSync(ca, secured.cert);
  const tls = ['--redis-tls-mode', 'on', '--redis-tls-ca-file', ca];
  for (const [secret, wanted] of [
    ['right', 'answers'],
    ['wrong', 'check redis.username and redis.passwordFile'],
  ] as const) {
    writeFileSync(password, secret);
    const own = ['--redis-address', guarded.address, '--redis-password-file', password, ...tls];
    expect((await doctor(...own)).lines[0]).toContain(wanted);
  }
  const nobody = await doctor('--redis-address', `127.0.0.1:${await freePort()}`);
  expect(nobody).toMatchObject({ code: 1, lines: [expect.stringContaining('ECONNREFUSED')] });
});
