// From checkpoints to a state file, one partition in memory at a time. What is written is what the newest sound
// checkpoint of each partition holds; records behind it are counted and left to the log.

import { create } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import type { Checkpoint } from '../gen/checkpoint_pb.js';
import { StateFileHeadSchema, StateFilePartitionSchema } from '../gen/state_file_pb.js';
import type { Log } from '../log/log.js';
import type { StateStore } from '../state/state-store.js';
import {
  CHECKPOINT_VERSION,
  listCheckpoints,
  readChunks,
  readManifest,
  sectionsOf,
} from './checkpoint.js';
import { ENTITY_METRIC } from './detectors.js';
import { readDictionary } from './dictionary.js';
import { decodeHistograms, renumberHistogram } from './histogram-state.js';
import { readSetAside } from './no-learn.js';
import { NO_ENTRY, NO_SLOT } from './slots.js';
import { StateReader } from './state-bytes.js';
import {
  ROW_DERIVED,
  ROW_LEFT_OUT,
  ROW_SCORED,
  type StateFileCounts,
  StateFileWriter,
} from './state-file.js';

/** Of a record: timestamp and value of the last sample taken in. */
const GUARD_BYTES = 16;

/** Who reads or writes records here. */
export interface RecordLayout {
  recordFormat: number;
  recordBytes: number;
  seed: number;
  engineId: Uint8Array;
}

export interface ExportSite {
  log: Log;
  store: StateStore;
  layout: RecordLayout;
  partitionBy: readonly (readonly string[])[];
  program: string;
}

export interface ExportReport extends StateFileCounts {
  partitions: number;
  /** Of these, those that had a checkpoint. */
  saved: number;
  /** Records logged behind the checkpoints, which are not in the file. */
  recordsBehind: number;
  bytes: number;
  learnt: Uint8Array;
}

/** `write` takes the bytes of the file in order and resolves when more may come. */
export async function exportState(
  site: ExportSite,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<ExportReport> {
  const { log, layout, partitionBy, program } = site;
  const file = new StateFileWriter(write);
  await file.head(
    create(StateFileHeadSchema, {
      ...layout,
      program,
      logId: log.id,
      partitions: log.partitions,
      partitionBy: partitionBy.map((name) => ({ name: [...name] })),
    }),
  );
  let [saved, recordsBehind] = [0, 0];
  for (let partition = 0; partition < log.partitions; partition++) {
    const { low, high } = await log.bounds('samples', partition);
    const checkpoint = await soundCheckpoint(site, partition, high);
    const behind = high - Math.max(low, Number(checkpoint?.manifest.offset ?? 0));
    recordsBehind += behind;
    if (checkpoint === undefined) continue;
    saved++;
    await writePartition(file, checkpoint, behind);
  }
  if (saved === 0) {
    throw new OperatingError(
      'input_invalid',
      'There is no learnt state to export: no partition has a checkpoint; one is written a minute after the first ' +
        'samples, and when the program stops',
    );
  }
  const learnt = await file.end();
  const { bytes, counts } = file;
  return { ...counts, partitions: log.partitions, saved, recordsBehind, bytes, learnt };
}

interface Saved {
  manifest: Checkpoint;
  whole: Buffer;
}

/** The newest that can be read; undefined when the partition has none. */
async function soundCheckpoint(
  { log, store, layout }: ExportSite,
  partition: number,
  high: number,
): Promise<Saved | undefined> {
  const offsets = (await listCheckpoints(store, partition)).filter((offset) => offset <= high);
  for (const offset of offsets) {
    const manifest = await readManifest(store, partition, offset);
    if (manifest === undefined || manifest.logId !== log.id) continue;
    const { version, recordFormat, recordBytes, seed } = manifest;
    if (version > CHECKPOINT_VERSION || recordFormat > layout.recordFormat) {
      throw new OperatingError(
        'data_dir_newer',
        `The learnt state was written by a newer Treeline (checkpoint ${version}, record format ${recordFormat}); ` +
          'export it with that version',
      );
    }
    const isOurs =
      recordFormat === layout.recordFormat &&
      recordBytes === layout.recordBytes &&
      seed === layout.seed;
    const whole = isOurs ? await readChunks(store, manifest) : undefined;
    if (whole !== undefined) return { manifest, whole };
  }
  if (offsets.length === 0) return undefined;
  throw new OperatingError(
    'checkpoint_corrupt',
    `None of the checkpoints of partition ${partition} can be read (at ${offsets.join(', ')}); start the program, ` +
      'which learns the partition again from the log, stop it, and export then',
  );
}

/** The distance of an entity: made here, so that no receiver would give it that fingerprint. */
function isDistance(announcement: Uint8Array): boolean {
  return Buffer.from(announcement).includes(ENTITY_METRIC);
}

async function writePartition(
  file: StateFileWriter,
  { manifest, whole }: Saved,
  recordsBehind: number,
): Promise<void> {
  const { dictionary, histograms: histogramBytes, noise, records } = sectionsOf(manifest, whole);
  await file.partition(
    create(StateFilePartitionSchema, { manifest: { ...manifest, chunk: [] }, recordsBehind }),
  );
  const { leftOut, histograms } = decodeHistograms(histogramBytes);
  const flags = new Uint8Array(manifest.entryEnd);
  for (const entry of leftOut) flags[entry]! |= ROW_LEFT_OUT;
  for (const { derived } of histograms) {
    for (const entry of derived) if (entry !== NO_ENTRY) flags[entry]! |= ROW_DERIVED;
  }
  // What is learnt in a window without learning is no part of what was learnt; the guard before it is.
  const aside =
    noise.length === 0 ? [] : readSetAside(new StateReader(noise), manifest.recordBytes);
  for (const [slot, record] of aside) {
    records.set(record.subarray(GUARD_BYTES), slot * manifest.recordBytes + GUARD_BYTES);
  }
  const numbers = new Uint32Array(manifest.entryEnd);
  for (const { entry, low, high, slot, seen, announcement } of readDictionary(dictionary)) {
    const isScored = slot !== NO_SLOT;
    const from = slot * manifest.recordBytes;
    if (isDistance(announcement)) flags[entry]! |= ROW_DERIVED;
    numbers[entry] = await file.row({
      low,
      high,
      flags: flags[entry]! | (isScored ? ROW_SCORED : 0),
      seen,
      announcement,
      record: records.subarray(...(isScored ? [from, from + manifest.recordBytes] : [0, 0])),
    });
  }
  for (const histogram of histograms) {
    renumberHistogram(histogram, (entry) => numbers[entry]!);
    await file.histogram(histogram);
  }
}
