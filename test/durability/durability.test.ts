// "Acknowledged means on the disk", tested by standing between lmdb and the kernel: flushes are
// counted, held back and failed, the process is killed at random moments, and what no flush has
// made durable is taken away as a power loss would. TREELINE_SEED repeats a run.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { eventually, removeDirectory, temporaryDirectory } from '../programs.js';
import { randomOf } from '../random.js';
import { type Appender, expectAllThere, startAppender } from './appender.js';
import { buildFlushGate, type Call, type FlushGate } from './flush-gate.js';
import type { Acknowledged } from './payload.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const KILLS = 20;
const POWER_LOSSES = 20;
const HELD_MS = 300;

let gate: FlushGate;
beforeAll(async () => {
  gate = await buildFlushGate();
});
beforeEach(() => {
  gate.fail(null);
  gate.release();
});
afterAll(() => gate.remove());

async function inDirectory(body: (path: string) => Promise<void>): Promise<void> {
  const path = temporaryDirectory('durability');
  await body(path);
  removeDirectory(path);
}

function some(what: string, probe: () => boolean): Promise<true> {
  return eventually(what, 20_000, async () => (probe() ? true : undefined));
}

test('no append resolves before the end of a flush that began after it', async () => {
  await inDirectory(async (path) => {
    const appender = await startAppender(path, { writers: 8, records: 400, env: gate.env });
    expect(await appender.program.exited).toEqual({ code: 0, signal: null });
    const acknowledged = appender.acknowledged();
    expect(acknowledged).toHaveLength(400);
    for (const { number, begunAtCall, endedAtAck } of acknowledged) {
      expect(endedAtAck, `record ${number}`).toBeGreaterThan(begunAtCall);
    }
    // Eight writers share flushes: at least two records to one.
    expect(gate.flushes()).toBeLessThan(200);
    expect(gate.read('metaWrites')).toBeGreaterThanOrEqual(gate.flushes());
    expect(await expectAllThere(path, acknowledged, 'after a clean end')).toBe(400);
  });
});

test('while a flush is held back nothing is acknowledged', async () => {
  await inDirectory(async (path) => {
    const appender = await startAppender(path, { writers: 8, env: gate.env });
    for (let round = 0; round < 3; round++) {
      const before = appender.acknowledged().length;
      await some('acknowledgements', () => appender.acknowledged().length > before + 20);
      gate.hold();
      await some('a held flush', () => gate.read('held') > 0);
      await sleep(50); // what was acknowledged just before is on its way through the pipe
      const held = appender.acknowledged().length;
      await sleep(HELD_MS);
      expect(appender.acknowledged()).toHaveLength(held);
      expect(appender.refusals()).toEqual([]);
      gate.release();
      await some('acknowledgements again', () => appender.acknowledged().length > held);
    }
    await appender.program.stop('SIGKILL');
    await expectAllThere(path, appender.acknowledged(), 'after held flushes');
  });
});

interface Fault {
  errno: 'EIO' | 'ENOSPC';
  on: Call;
  code: string;
  text: RegExp;
}

const PASSING: Fault[] = [
  { errno: 'EIO', on: 'flush', code: 'log_unavailable', text: /Input\/output error/ },
  { errno: 'ENOSPC', on: 'flush', code: 'disk_full', text: /No space left on device/ },
  { errno: 'EIO', on: 'growth', code: 'log_unavailable', text: /EIO/ },
  { errno: 'ENOSPC', on: 'growth', code: 'disk_full', text: /ENOSPC/ },
];

for (const { errno, on, code, text } of PASSING) {
  test(`${errno} on ${on} refuses the appends, and the log goes on once it is over (scenarios 5, 6)`, async () => {
    await inDirectory(async (path) => {
      const appender = await startAppender(path, { writers: 8, env: gate.env });
      for (let round = 1; round <= 3; round++) {
        const before = appender.acknowledged().length;
        const refusals = appender.refusals().length;
        await some('acknowledgements', () => appender.acknowledged().length > before + 20);
        const failures = gate.read('failures');
        gate.fail(errno, [on]);
        await some('refusals', () => appender.refusals().length > refusals + 20);
        expect(gate.read('failures')).toBeGreaterThan(failures);
        await sleep(50);
        const during = appender.acknowledged().length;
        await sleep(HELD_MS);
        // A file that cannot grow may still have room for a small record.
        if (on === 'flush') expect(appender.acknowledged()).toHaveLength(during);
        expect(appender.program.hasExited(), appender.program.stderr()).toBe(false);
        gate.fail(null);
        await some('acknowledgements again', () => appender.acknowledged().length > during + 20);
      }
      for (const refusal of appender.refusals()) {
        expect(refusal.refused).toBe(code);
        expect(refusal.message).toMatch(text);
        expect(refusal.message).toContain(path);
      }
      await appender.program.stop('SIGKILL');
      await expectAllThere(path, appender.acknowledged(), `after ${errno} on ${on}`);
    });
  });
}

test('on a full disk a log that deletes goes on in the pages that it has', async () => {
  await inDirectory(async (path) => {
    const bytesMax = 12_000_000;
    const appender = await startAppender(path, { writers: 8, bytesMax, env: gate.env });
    await some('a file that has stopped growing', () => appender.acknowledged().length > 6000);
    gate.fail('ENOSPC', ['growth']);
    const before = appender.acknowledged().length;
    await some('as much again', () => appender.acknowledged().length > before + 3000);
    expect(appender.refusals()).toEqual([]);
    await appender.program.stop('SIGKILL');
  });
});

test('an I/O error of a page ends writing or the process, and a restart heals it', async () => {
  await inDirectory(async (path) => {
    const appender = await startAppender(path, { writers: 8, env: gate.env });
    await some('acknowledgements', () => appender.acknowledged().length > 20);
    gate.fail('EIO', ['pages']);
    await some('its end', () => appender.refusals().length > 8 || appender.program.hasExited());
    gate.fail(null);
    await sleep(50);
    const before = appender.acknowledged();
    await sleep(HELD_MS);
    // lmdb spoils its heap while it reports this error: nothing may be acknowledged by what is left
    // of it.
    expect(appender.acknowledged()).toHaveLength(before.length);
    await appender.program.stop('SIGKILL');
    await expectAllThere(path, before, 'after an error of a page');
  });
});

test('an error of the meta page ends writing with a sentence, and a restart heals it', async () => {
  await inDirectory(async (path) => {
    const appender = await startAppender(path, { writers: 8, env: gate.env });
    await some('acknowledgements', () => appender.acknowledged().length > 20);
    gate.fail('EIO', ['meta']);
    await some('refusals', () => appender.refusals().length > 20);
    gate.fail(null);
    await sleep(50);
    const before = appender.acknowledged();
    await sleep(HELD_MS);
    // lmdb cannot say any more what is on the disk, so nothing is acknowledged, and nothing hangs
    // either.
    expect(appender.acknowledged()).toHaveLength(before.length);
    expect(appender.program.hasExited(), appender.program.stderr()).toBe(false);
    for (const { refused, message } of appender.refusals()) {
      expect(refused).toBe('log_unavailable');
      expect(message).toMatch(/Input\/output error.*restart Treeline/);
    }
    await appender.program.stop('SIGKILL');
    await expectAllThere(path, before, 'after an error of the meta page');
    const again = await startAppender(path, { first: 1_000_000, records: 50, env: gate.env });
    expect(await again.program.exited).toEqual({ code: 0, signal: null });
    const all = [...before, ...again.acknowledged()];
    expect(all).toHaveLength(before.length + 50);
    await expectAllThere(path, all, 'after the restart');
  });
});

/** Lets it write for a moment, kills it, and returns what it had acknowledged. */
async function killSoon(appender: Appender, afterMs: number): Promise<Acknowledged[]> {
  await some('an acknowledgement', () => appender.acknowledged().length > 0);
  await sleep(afterMs);
  await appender.program.stop('SIGKILL');
  return appender.acknowledged();
}

test('kill -9 at random moments loses nothing that was acknowledged', async () => {
  await inDirectory(async (path) => {
    const random = randomOf(SEED);
    const acknowledged: Acknowledged[] = [];
    for (let round = 0; round < KILLS; round++) {
      const appender = await startAppender(path, { first: round * 100_000, writers: 6 });
      acknowledged.push(...(await killSoon(appender, random() * 100)));
      await expectAllThere(path, acknowledged, `TREELINE_SEED=${SEED}, kill ${round}`);
    }
  });
});

test('power loss at random moments loses nothing that was acknowledged (scenario 3)', async () => {
  await inDirectory(async (path) => {
    const random = randomOf(SEED + 1);
    const acknowledged: Acknowledged[] = [];
    let taken = 0;
    for (let round = 0; round < POWER_LOSSES; round++) {
      const env = gate.env;
      const appender = await startAppender(path, { first: round * 100_000, writers: 6, env });
      if (round % 2 === 1) {
        // Every other time in the middle of a flush, when there is most to lose.
        await some('an acknowledgement', () => appender.acknowledged().length > 0);
        gate.hold();
        await some('a held flush', () => gate.read('held') > 0);
      }
      acknowledged.push(...(await killSoon(appender, random() * 100)));
      gate.release();
      // A disk may have written some of it, in any order: all of it is lost, or each write by
      // chance.
      const share = random() < 0.3 ? 1 : random();
      taken += gate.losePower(join(path, 'treeline.mdb'), () => random() < share);
      await expectAllThere(path, acknowledged, `TREELINE_SEED=${SEED}, loss ${round}`);
    }
    expect(taken, 'writes that were not yet durable').toBeGreaterThan(POWER_LOSSES / 2);
  });
});
