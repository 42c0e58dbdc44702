// The process that the durability tests kill, starve and lie to: opens a data directory and appends
// for ever with several writers, and says on its standard output, one JSON line each, what was
// acknowledged (an array, see Acknowledged) and what was refused.
//
//   node dist/test/durability/append-forever.js DIR FIRST WRITERS [RECORDS [RETENTION-BYTES]]

import { openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDataDir } from '../../src/data-dir.js';
import { OperatingError } from '../../src/errors.js';
import { type LmdbLog, openLmdbLog } from '../../src/log/lmdb-log.js';
import { PARTITIONS, partitionOf, payloadOf } from './payload.js';

const REFUSED_PAUSE_MS = 20;
const TRIM_EVERY = 50;

const [path = '', first = '0', writers = '1', records = 'Infinity', bytesMax = '1e12'] =
  process.argv.slice(2);
const control = process.env['TREELINE_FLUSH_GATE'];
const gate = control === undefined ? undefined : openSync(control, 'r');
let number = Number(first);
const end = number + Number(records);

const retention = { bytesMax: Number(bytesMax), ageMsMax: 1e12 };
const dir = await openDataDir(path);
const log = await openLmdbLog(dir, {
  partitions: PARTITIONS,
  retention: { samples: retention, candidates: retention },
  clock: Date.now,
});
say({ ready: process.pid });
await Promise.all(Array.from({ length: Number(writers) }, () => appendForever(log)));
await log.close();
await dir.close();
say({ closed: true });

async function appendForever(to: LmdbLog): Promise<void> {
  while (number < end) {
    const mine = number++;
    const value = payloadOf(mine);
    for (let isAcknowledged = false; !isAcknowledged; ) {
      const begunAtCall = flushes().begun;
      try {
        const offset = await to.append('samples', partitionOf(mine), value, 1);
        say([mine, offset, begunAtCall, flushes().ended]);
        isAcknowledged = true;
        if (mine % TRIM_EVERY < PARTITIONS) await to.trim('samples', partitionOf(mine), offset);
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        say({ refused: error.code, message: error.message });
        await sleep(REFUSED_PAUSE_MS);
      }
    }
  }
}

function flushes(): { begun: number; ended: number } {
  if (gate === undefined) return { begun: 0, ended: 0 };
  const counters = Buffer.alloc(8);
  readSync(gate, counters, 0, 8, 0);
  return { begun: counters.readUInt32LE(0), ended: counters.readUInt32LE(4) };
}

/** At once and whole: what was said before a kill -9 has been said. */
function say(what: object): void {
  writeSync(1, `${JSON.stringify(what)}\n`);
}
