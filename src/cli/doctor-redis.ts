// What `treeline doctor --local` says of the Redis that several apis share: whether it answers and lets us in, and whether
// it keeps what it is told. It changes nothing there.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Settings } from '../config.js';
import { hasRedis } from '../config-outputs.js';
import { OperatingError } from '../errors.js';
import { REDIS_COMMAND_MS_MAX, REDIS_CONNECT_MS_MAX } from '../limits-outputs.js';
import { redisConnection } from '../redis-settings.js';
import type { Finding } from './doctor.js';

const POLL_MS = 50;
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

export async function redisFindings({ redis }: Settings): Promise<Finding[]> {
  if (!hasRedis(redis)) return [];
  const { openRedis } = await import('../state/redis-client.js');
  const where = redis.address === '' ? `${redis.master}, by its Sentinels,` : redis.address;
  try {
    const client = openRedis(redisConnection(redis), SILENT);
    try {
      const until = performance.now() + REDIS_CONNECT_MS_MAX + REDIS_COMMAND_MS_MAX;
      const first = client.problem();
      while (client.problem() === first && performance.now() < until) await sleep(POLL_MS);
      // Tells more than that nobody answers: why we were refused, for one.
      await client.command('HGET', `${redis.prefix}:values`, 'decided');
      const told = String(await client.command('INFO'));
      return [{ level: 'ok', what: `Redis ${where} answers` }, ...durability(told)];
    } finally {
      await client.close();
    }
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    const fix = 'look at redis.* and at the server; without it no api decides or sends';
    return [{ level: 'fault', what: `Redis ${where}: ${error.message}`, fix }];
  }
}

/** An isolated master that takes writes, or a restart without a disk, loses decisions. */
function durability(told: string): Finding[] {
  const read = (key: string) => new RegExp(`^${key}:(\\S*)`, 'm').exec(told)?.[1];
  const findings: Finding[] = [];
  if (read('aof_enabled') === '0') {
    const what = 'Redis forgets at a restart what it was told last';
    findings.push({ level: 'warning', what, fix: 'set appendonly yes' });
  }
  const [major = 0] = (read('redis_version') ?? '').split('.').map(Number);
  if (major < 6) {
    const what = `Redis is of version ${read('redis_version')}`;
    findings.push({ level: 'warning', what, fix: 'version 6 or newer is tested' });
  }
  return findings;
}
