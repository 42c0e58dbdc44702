// Types and units in a cluster: the metadata of remote-write 1.0 reach one receiver, and the series another. What is news to
// one is appended to the control log and learnt by all, which announce the series again; so it reaches every scorer by the
// samples log. Nobody waits for it: until then a series is scored by its name.

import { randomUUID } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { compressSync, uncompressSync } from 'snappy';
import { OperatingError } from '../errors.js';
import { ControlSchema } from '../gen/control_pb.js';
import {
  type MetricMetadata,
  type WriteRequest,
  WriteRequestSchema,
} from '../gen/remote_write_v1_pb.js';
import type { Logger } from '../http-server.js';
import { CONTROL_BYTES_MAX, FAMILIES_PER_RECORD, READ_BYTES_MAX } from '../limits.js';
import type { Log, Subscription } from '../log/log.js';
import { REAL_PACE } from '../pace.js';

export interface SharingParts {
  log: Log;
  logger: Logger;
  clock: () => number;
  learn: (body: Uint8Array, tenant: string) => void;
}

/** All receivers write to and read this one. */
const PARTITION = 0;
const RETRY_MS = 1_000;

export class FamilySharing {
  readonly #parts: SharingParts;
  readonly #id = randomUUID();
  readonly #ending = new AbortController();
  #subscription: Subscription | undefined;
  #following: Promise<void> | undefined;
  readonly #telling = new Set<Promise<void>>();
  /** Records whose types could not be told or learnt. */
  failures = 0;

  constructor(parts: SharingParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    let begin: () => void = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const onAssigned = (partition: number) => {
      if (partition === PARTITION) begin();
    };
    this.#subscription = await this.#parts.log.subscribe('control', { onAssigned, onLost() {} });
    this.#following = begun.then(() => this.#follow());
  }

  /** Of a request that was decoded here; resolves nothing and rejects nothing: it is news, not samples. */
  tell(body: Uint8Array, tenant: string): void {
    const telling = this.#tell(body, tenant).catch((error: unknown) => {
      // The sender says its metadata again every minute, but to us it is no news any more.
      this.failures++;
      this.#parts.logger.warn(
        { err: error as Error },
        'Types could not be told to other receivers',
      );
    });
    this.#telling.add(telling);
    void telling.finally(() => this.#telling.delete(telling));
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#telling);
    await this.#subscription?.close();
    await this.#following;
  }

  async #tell(body: Uint8Array, tenant: string): Promise<void> {
    const { log, clock } = this.#parts;
    const request = fromBinary(WriteRequestSchema, uncompressSync(Buffer.from(body)) as Buffer);
    for (let from = 0; from < request.metadata.length; from += FAMILIES_PER_RECORD) {
      const record = create(ControlSchema, {
        id: randomUUID(),
        tenant,
        atMs: BigInt(Math.floor(clock())),
        what: {
          case: 'types',
          value: {
            receiver: this.#id,
            writeRequest: metadataAlone(request.metadata.slice(from, from + FAMILIES_PER_RECORD)),
          },
        },
      });
      const bytes = toBinary(ControlSchema, record);
      if (bytes.length <= CONTROL_BYTES_MAX) await log.append('control', PARTITION, bytes, 0);
      else this.failures++;
    }
  }

  async #follow(): Promise<void> {
    const { log } = this.#parts;
    const { signal } = this.#ending;
    let from: number | undefined;
    while (!signal.aborted) {
      try {
        from ??= (await log.bounds('control', PARTITION)).low;
        const batch = await this.#subscription!.read(PARTITION, from, READ_BYTES_MAX, signal);
        for (const { value } of batch.records) this.#learn(value);
        from = batch.next;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof OperatingError)) throw error;
        await REAL_PACE.sleep(RETRY_MS, signal);
      }
    }
  }

  #learn(value: Uint8Array): void {
    try {
      const { tenant, what } = fromBinary(ControlSchema, value);
      if (what.case !== 'types' || what.value.receiver === this.#id) return;
      this.#parts.learn(what.value.writeRequest, tenant);
    } catch (error) {
      // Not ours to judge what else may lie there; types are taken from announcements in the end.
      this.failures++;
      this.#parts.logger.warn({ err: error as Error }, 'A control record could not be read');
    }
  }
}

/** Descriptions are long, and nobody here reads them. */
function metadataAlone(metadata: readonly MetricMetadata[]): Uint8Array {
  const request: WriteRequest = create(WriteRequestSchema, {
    metadata: metadata.map(({ type, metricFamilyName, unit }) => ({
      type,
      metricFamilyName,
      unit,
    })),
  });
  return compressSync(Buffer.from(toBinary(WriteRequestSchema, request)));
}
