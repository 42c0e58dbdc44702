// Runs append-forever.ts as a process of its own and listens to it, and judges what it left behind.

import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { openDataDir } from '../../src/data-dir.js';
import { openLmdbLog } from '../../src/log/lmdb-log.js';
import { settingsOf } from '../lmdb-fixture.js';
import { eventually, type Program, startProgram } from '../programs.js';
import { type Acknowledged, PARTITIONS, partitionOf, payloadOf } from './payload.js';

const SCRIPT = fileURLToPath(
  new URL('../../dist/test/durability/append-forever.js', import.meta.url),
);

export interface Appender {
  program: Program;
  acknowledged(): Acknowledged[];
  refusals(): { refused: string; message: string }[];
}

export async function startAppender(
  path: string,
  options: {
    first?: number;
    writers?: number;
    records?: number;
    bytesMax?: number;
    env?: Record<string, string>;
  },
): Promise<Appender> {
  const { first = 0, writers = 4, records = Number.POSITIVE_INFINITY, bytesMax = 1e12 } = options;
  const env = options.env ?? {};
  const args = [SCRIPT, path, ...[first, writers, records, bytesMax].map(String)];
  const program = await startProgram(process.execPath, args, { environment: env });
  const lines = () => {
    const whole = program.stdout();
    // After a kill the last line may be cut short.
    return whole
      .slice(0, whole.lastIndexOf('\n') + 1)
      .split('\n')
      .slice(0, -1);
  };
  await eventually('the appender', 20_000, async () => {
    if (lines().length > 0) return true;
    if (program.hasExited()) throw new Error(`the appender ended: ${program.stderr()}`);
    return undefined;
  });
  return {
    program,
    acknowledged: () =>
      lines()
        .filter((line) => line.startsWith('['))
        .map((line) => {
          const [number, offset, begunAtCall, endedAtAck] = JSON.parse(line) as number[];
          return { number, offset, begunAtCall, endedAtAck } as Acknowledged;
        }),
    refusals: () =>
      lines()
        .filter((line) => line.startsWith('{"refused"'))
        .map((line) => JSON.parse(line) as { refused: string; message: string }),
  };
}

/**
 * Every acknowledged record is there, whole, at its offset; each partition is dense and counts its
 * samples.
 */
export async function expectAllThere(
  path: string,
  acknowledged: readonly Acknowledged[],
  where: string,
): Promise<number> {
  const dir = await openDataDir(path);
  const log = await openLmdbLog(dir, settingsOf(PARTITIONS));
  const subscription = await log.subscribe('samples', { onAssigned() {}, onLost() {} });
  const { signal } = new AbortController();
  const wanted = new Map(
    acknowledged.map((one) => [`${partitionOf(one.number)}/${one.offset}`, one.number]),
  );
  let count = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const { low, high, samples } = await log.bounds('samples', partition);
    expect([low, samples], where).toEqual([0, high]);
    for (let from = 0; from < high; ) {
      const batch = await subscription.read(partition, from, 1 << 20, signal);
      expect(batch.gap, where).toBe(0);
      for (const { offset, value } of batch.records) {
        count++;
        const number = wanted.get(`${partition}/${offset}`);
        if (number === undefined) continue;
        expect(Buffer.compare(value, payloadOf(number)), `${where}, record ${number}`).toBe(0);
        wanted.delete(`${partition}/${offset}`);
      }
      from = batch.next;
    }
  }
  expect([...wanted], where).toEqual([]);
  await log.close();
  await dir.close();
  return count;
}
