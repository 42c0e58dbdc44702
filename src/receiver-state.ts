// What a receiver must not forget over a restart: how much it has rejected, so that its counters go on adding up with
// what the log has counted, and which replicas are elected, so that a restart does not elect the others by chance. Saved
// now and then, at once after an election, and at the end; what a crash loses is the last few seconds of it.

import type { Log } from './log/log.js';
import type { Metrics } from './metrics.js';
import type { Replicas } from './receiver/replicas.js';
import { soon } from './soon.js';
import type { StateStore } from './state/state-store.js';

export const REJECTED_KEY = 'receiver/rejected';
const REPLICAS_KEY = 'receiver/replicas';
const SAVE_EVERY_MS = 10_000;

export interface ReceiverState {
  /** Something has changed that should not wait. */
  changed(): void;
  stop(): Promise<void>;
}

interface Parts {
  log: Log;
  /** Without a volume all of it is this process's alone, and begins anew with it. */
  store: StateStore | undefined;
  metrics: Metrics;
  replicas: Replicas;
}

export async function keepReceiverState(parts: Parts): Promise<ReceiverState> {
  const { store, metrics, replicas } = parts;
  const rejected = new Saved<Record<string, number>>(store, REJECTED_KEY);
  const elected = new Saved<ReturnType<Replicas['save']>>(store, REPLICAS_KEY);
  await startCounters(parts, (await rejected.load()) ?? {});
  replicas.restore((await elected.load()) ?? []);
  const save = async () => {
    const { values } = await metrics.rejected.get();
    await rejected.save(
      Object.fromEntries(values.map(({ labels, value }) => [String(labels.reason), value])),
    );
    await elected.save(replicas.save());
  };
  let saving: Promise<void> | undefined;
  let isStale = false;
  const changed = () => {
    isStale = true;
    // A failed save is made good by the next one; everything is in memory.
    saving ??= (async () => {
      for (; isStale; await save().catch(() => {})) isStale = false;
      saving = undefined;
    })();
  };
  const timer = setInterval(changed, SAVE_EVERY_MS);
  timer.unref();
  return {
    changed,
    async stop() {
      clearInterval(timer);
      changed();
      await saving;
    },
  };
}

/** `received` is by definition what was logged plus what was rejected. */
async function startCounters(
  { log, metrics }: Parts,
  rejected: Readonly<Record<string, number>>,
): Promise<void> {
  let received = 0;
  for (const [reason, count] of Object.entries(rejected)) {
    metrics.rejected.inc({ reason }, count);
    received += count;
  }
  const partitions = Array.from({ length: log.partitions }, (_, partition) => partition);
  const before = await Promise.all(partitions.map((partition) => loggedIn(log, partition)));
  for (const samples of before) received += samples;
  metrics.received.inc(received);
  /** As last heard: while the log cannot be asked nothing is added to it. */
  const last = new Map(before.entries());
  const logged = () =>
    Promise.all(
      partitions.map(async (partition) => {
        const value = (await soon(loggedIn(log, partition))) ?? last.get(partition) ?? 0;
        last.set(partition, value);
        return { labels: { partition: String(partition) }, value };
      }),
    );
  metrics.observe(
    'counter',
    {
      name: 'treeline_samples_logged_total',
      help: 'Samples in the log, durable',
      labels: ['partition'],
    },
    logged,
  );
}

/** Live samples and history. */
async function loggedIn(log: Log, partition: number): Promise<number> {
  const bounds = await Promise.all([
    log.bounds('samples', partition),
    log.bounds('backfill', partition),
  ]);
  return bounds[0].samples + bounds[1].samples;
}

/** A value of the store, in JSON, written when it is another than before. */
class Saved<Value> {
  readonly #store: StateStore | undefined;
  readonly #key: string;
  #last = '';

  constructor(store: StateStore | undefined, key: string) {
    this.#store = store;
    this.#key = key;
  }

  async load(): Promise<Value | undefined> {
    const saved = await this.#store?.get(this.#key);
    if (saved === undefined) return undefined;
    this.#last = Buffer.from(saved).toString();
    return JSON.parse(this.#last) as Value;
  }

  async save(value: Value): Promise<void> {
    const text = JSON.stringify(value);
    if (text === this.#last) return;
    await this.#store?.put(this.#key, Buffer.from(text));
    this.#last = text;
  }
}
