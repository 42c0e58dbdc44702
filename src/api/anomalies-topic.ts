// The topic of anomalies, for programs of others: each anomaly as it is stored, when it opens, when its peak rises, and
// when it ends. Appended before it is stored, so that a crash in between repeats a record and loses none; a reader knows
// an anomaly by fingerprint and onset, and the last record of it is the newest. All records of a series lie in one
// partition, though not always the one of its samples.

import { createHash } from 'node:crypto';
import { OperatingError } from '../errors.js';
import type { Log } from '../log/log.js';
import type { Anomaly } from './anomalies.js';
import { bytesOf } from './archive.js';

/** Records under way at one time. */
const RECORDS_PER_TURN = 100;

export class AnomaliesTopic {
  readonly #log: Pick<Log, 'append' | 'partitions'>;
  /** Digest of what was appended of each last, so that what is stored again is not told again. */
  readonly #told = new WeakMap<Anomaly, string>();
  count = 0;

  constructor(log: Pick<Log, 'append' | 'partitions'>) {
    this.#log = log;
  }

  /** Resolves when every record is durable. Gives up with `lease_lost` when it may not go on. */
  async append(anomalies: Iterable<Anomaly>, isAllowed: () => boolean = () => true): Promise<void> {
    let turn: Promise<void>[] = [];
    for (const anomaly of anomalies) {
      const bytes = bytesOf(anomaly);
      const digest = createHash('sha1').update(bytes).digest('base64');
      if (this.#told.get(anomaly) === digest) continue;
      if (!isAllowed()) {
        throw new OperatingError('lease_lost', 'Not told: another process may hold the lease now');
      }
      turn.push(this.#appendOne(anomaly, { bytes, digest }));
      if (turn.length < RECORDS_PER_TURN) continue;
      await Promise.all(turn);
      turn = [];
    }
    await Promise.all(turn);
  }

  async #appendOne(
    anomaly: Anomaly,
    { bytes, digest }: { bytes: Uint8Array; digest: string },
  ): Promise<void> {
    const partition = Number(BigInt(`0x${anomaly.fingerprint}`) % BigInt(this.#log.partitions));
    await this.#log.append('anomalies', partition, bytes, 0);
    this.#told.set(anomaly, digest);
    this.count++;
  }
}
