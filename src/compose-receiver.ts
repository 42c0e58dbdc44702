// The receiver's part of the composition root: decoder, replicas, shared families and sources, from settings.

import { addBackfill } from './compose-backfill.js';
import { shareElections } from './compose-elections.js';
import { addSources } from './compose-sources.js';
import type { Settings } from './config.js';
import type { FamilySharing } from './receiver/family-sharing.js';
import type { DecoderSettings, ReplicaClaim } from './receiver/wasm-decoder.js';
import { keepReceiverState } from './receiver-state.js';
import type { Site } from './site.js';
import { loadWasm } from './wasm-files.js';

const INGEST_KEYS = [
  'ingest.keep',
  'ingest.drop',
  'ingest.stripLabels',
  'ingest.replicas',
  'ingest.clusterLabel',
  'ingest.replicaLabel',
];
const TELL_EVERY_MS = 10_000;

export async function addReceiver(site: Site): Promise<void> {
  const { log, settings, metrics, logger, clock, storage } = site;
  const { createReceiver } = await import('./receiver/receiver.js');
  const { Replicas } = await import('./receiver/replicas.js');
  const { classifier } = await import('./receiver/rules.js');
  const { WasmDecoder } = await import('./receiver/wasm-decoder.js');
  const { module } = loadWasm('decode');
  let toldAt = 0;
  const replicas = new Replicas((takeover) => {
    state.changed();
    elections?.changed();
    if (takeover === undefined || clock() - toldAt < TELL_EVERY_MS) return;
    toldAt = clock();
    logger.info(takeover, 'Another replica of a cluster is elected');
  });
  const state = await keepReceiverState({ log, store: storage.own, metrics, replicas });
  site.undo.push(() => state.stop());
  const elections = await shareElections(site, replicas);
  const decoderOf = ({ ingest }: Settings) => {
    const { clusterLabel, replicaLabel } = ingest;
    const judge = (claim: ReplicaClaim) => replicas.judge(claim);
    const decoderSettings: DecoderSettings = {
      partitions: log.partitions,
      partitionBy: settings.ingest.partitionBy,
      stripLabels: ingest.stripLabels,
      classify: classifier(ingest),
      replicas: ingest.replicas === 'elect' ? { clusterLabel, replicaLabel, judge } : undefined,
    };
    return new WasmDecoder(module, decoderSettings);
  };
  let decoder = decoderOf(settings);
  let sharing: FamilySharing | undefined;
  const receiver = createReceiver({
    ...{ log, decoder, metrics, logger, clock, replicas },
    onFamilyNews: (body, tenant) => sharing?.tell(body, tenant),
  });
  receiver.routes(site.server);
  if (settings.log.kind === 'kafka') {
    const { FamilySharing } = await import('./receiver/family-sharing.js');
    const learn = (body: Uint8Array, tenant: string) => receiver.learnFamilies(body, tenant);
    sharing = new FamilySharing({ log, logger, clock, learn });
    await sharing.start();
    site.undo.push(() => sharing?.stop() ?? Promise.resolve());
  }
  site.steps.push({
    keys: INGEST_KEYS,
    // A new decoder knows no series: each is judged by the new rules, and announced again.
    apply: (next) => {
      const before = decoder;
      decoder = decoderOf(next);
      decoder.adoptFamilies(before);
      receiver.useDecoder(decoder);
      return () => {
        decoder = before;
        receiver.useDecoder(before);
      };
    },
  });
  addSources(site, receiver);
  await addBackfill(site, () => decoderOf(settings));
}
