// A checkpoint is the state of one partition and the offset it belongs to, as one thing: they cannot disagree. Chunks
// first, each with its checksum, the manifest last; a reader takes the newest manifest whose chunks are all sound, else
// the one before it. Layout: docs/formats.md.
//
//   checkpoint/<partition>/<offset, 16 digits>/<chunk, 6 digits>     bytes
//   checkpoint/<partition>/<offset, 16 digits>/manifest              Checkpoint (proto/checkpoint.proto)
//   checkpoint/<partition>/history-<offset, 16 digits>/…             the same while history is read: its offset in that log

import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { create } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { type Checkpoint, CheckpointSchema } from '../gen/checkpoint_pb.js';
import type { Logger } from '../http-server.js';
import { CHECKPOINTS_KEPT, CHUNK_BYTES } from '../limits.js';
import type { StateStore } from '../state/state-store.js';
import { decodeManifest, encodeManifest } from './checkpoint-manifest.js';
import { encodeDictionary, readDictionary } from './dictionary.js';
import { OUTCOMES, type Partition } from './partition.js';

/**
 * 2: with histograms. Version 1 is read as a state without any. 3: has come upon control. 4: with what follows from it, with
 * what is shown and what is not suited, or with entities. Each is written only where there is any of it, so that who has not
 * used it can go back to an older program.
 */
export const CHECKPOINT_VERSION = 4;
export const WITH_HISTOGRAMS = 2;
const WITH_CONTROL = 3;
const MANIFEST = '/manifest';
const HISTORY = 'history-';

/** What a checkpoint must fit: another log, partition count, table or record is not ours to read. */
export interface Lineage {
  logId: string;
  partition: number;
  partitions: number;
  engineId: Uint8Array;
  seed: number;
}

/** Which log the offsets of checkpoints count in: those of one say nothing beside those of the other. */
export type Reading = 'samples' | 'history';

export interface Snapshot {
  /** In the log that is being read. */
  offset: number;
  manifest: Checkpoint;
  dictionary: Uint8Array;
  histograms: Uint8Array;
  /** What people said, and what follows from it. */
  noise: Uint8Array;
  /** Anomalies as they are shown, where rules show others than the records know. */
  shown: Uint8Array;
  records: Uint8Array;
  entities: Uint8Array;
}

/** Copies the state between two records: nothing of it changes while it is written. */
export function takeSnapshot(partition: Partition, lineage: Lineage, offset: number): Snapshot {
  const { slots, forest, counts } = partition;
  const dictionary = encodeDictionary(slots);
  const histograms = partition.histograms.encode();
  const noise = partition.noise.encode();
  const shown = partition.noise.encodeShown();
  const records = forest.records(slots.slotEnd).slice();
  const entities = partition.entities.encode();
  const { history } = partition;
  const manifest = create(CheckpointSchema, {
    version: versionOf(partition, noise.length + shown.length + entities.length),
    recordFormat: forest.recordFormat,
    recordBytes: forest.recordBytes,
    engineId: lineage.engineId,
    partition: lineage.partition,
    partitions: lineage.partitions,
    logId: lineage.logId,
    seed: lineage.seed,
    offset: BigInt(history.isReading ? 0 : offset),
    streamTimeMs: partition.streamTimeMs,
    nextSweepMs: partition.nextSweepMs,
    outcomes: { ...counts, gapRecords: partition.gapRecords },
    entryEnd: slots.entryEnd,
    slotEnd: slots.slotEnd,
    dictionaryBytes: dictionary.length,
    histogramBytes: histograms.length,
    controlNext: BigInt(partition.control.next),
    noiseBytes: noise.length,
    shownBytes: shown.length,
    unsuited: partition.noise.unsuitedPairs(),
    entityBytes: entities.length,
    historyNext: BigInt(history.isReading ? offset : history.next),
    historyRecords: BigInt(history.records),
    inHistory: history.isReading,
  });
  return { offset, manifest, dictionary, histograms, noise, shown, records, entities };
}

function versionOf({ control }: Partition, noiseBytes: number): number {
  if (noiseBytes > 0) return CHECKPOINT_VERSION;
  return control.next > 0 ? WITH_CONTROL : WITH_HISTOGRAMS;
}

/**
 * SHA-256 over everything that the next sample's score depends on, and the counters. Not over who wrote it, nor over what
 * is shown, which depends on the rules of the settings too.
 */
export function stateHash(snapshot: Snapshot): Uint8Array {
  const { manifest, dictionary, histograms, noise, records, entities } = snapshot;
  const control = manifest.controlNext === 0n ? [] : [Number(manifest.controlNext)];
  const fields = [
    // Blocks of samples so far, wherever they lay: the same history leads to the same state by either log.
    Number(manifest.offset) + Number(manifest.historyRecords),
    manifest.streamTimeMs,
    manifest.nextSweepMs,
    manifest.entryEnd,
    manifest.slotEnd,
    ...OUTCOMES.map((outcome) => manifest.outcomes?.[outcome] ?? 0),
    ...control,
  ];
  const header = new DataView(new ArrayBuffer(8 * fields.length));
  fields.forEach((field, index) => {
    header.setFloat64(8 * index, field, true);
  });
  return createHash('sha256')
    .update(Buffer.from(header.buffer))
    .update(dictionary)
    .update(histograms)
    .update(noise)
    .update(records)
    .update(entities)
    .digest();
}

export async function writeCheckpoint(store: StateStore, snapshot: Snapshot): Promise<void> {
  await (await writeChunks(store, snapshot))();
  const { partition, inHistory } = snapshot.manifest;
  const reading = readingOf(inHistory);
  const whole = await listCheckpoints(store, partition, reading);
  const own = await checkpointsOf(store, snapshot.manifest, whole);
  // Offsets of another log say nothing about age beside ours; the log may have been created anew.
  const others = whole.filter((one) => !own.includes(one));
  const kept = [own, others].flatMap((offsets) => offsets.slice(0, CHECKPOINTS_KEPT));
  const keys = await store.list(partitionPrefix(partition, reading));
  // Chunks without a manifest: their process was killed. What lies beyond may be on its way to be a checkpoint.
  const strays = keys
    .map((key) => offsetOf(key, reading))
    .filter((offset) => offset < snapshot.offset);
  for (const old of new Set([...whole, ...strays])) {
    if (!kept.includes(old)) await deleteCheckpoint(store, partition, old, reading);
  }
  // Enough are newer than the whole history.
  if (!inHistory && own.length >= CHECKPOINTS_KEPT) {
    for (const old of await listCheckpoints(store, partition, 'history')) {
      await deleteCheckpoint(store, partition, old, 'history');
    }
  }
}

/** The checkpoint exists once what this resolves with, the writing of its manifest, has been called and has resolved. */
export async function writeChunks(
  store: StateStore,
  snapshot: Snapshot,
): Promise<() => Promise<void>> {
  const { manifest } = snapshot;
  const { dictionary, histograms, noise, shown, records, entities } = snapshot;
  const whole = Buffer.concat([dictionary, histograms, noise, shown, records, entities]);
  const prefix = prefixOf(manifest, snapshot.offset);
  for (let from = 0; from < whole.length; from += CHUNK_BYTES) {
    const bytes = whole.subarray(from, from + CHUNK_BYTES);
    await store.put(`${prefix}/${pad(from / CHUNK_BYTES, 6)}`, bytes);
    manifest.chunk.push({
      $typeName: 'treeline.v1.Chunk',
      bytes: bytes.length,
      crc32: crc32(bytes),
    });
  }
  manifest.stateHash = stateHash(snapshot);
  return () => store.put(prefix + MANIFEST, encodeManifest(manifest));
}

export async function deleteCheckpoint(
  store: StateStore,
  partition: number,
  offset: number,
  reading: Reading = 'samples',
): Promise<void> {
  const prefix = partitionPrefix(partition, reading) + pad(offset, 16);
  // The manifest goes first: without it the chunks are nobody's.
  await store.deleteAll(prefix + MANIFEST);
  await store.deleteAll(`${prefix}/`);
}

/** Of these checkpoints, the ones whose offsets count in this log, newest first. */
export async function checkpointsOf(
  store: StateStore,
  lineage: Pick<Lineage, 'logId' | 'partition'> & { inHistory?: boolean },
  offsets: readonly number[],
): Promise<number[]> {
  const { logId, partition, inHistory = false } = lineage;
  const own: number[] = [];
  for (const offset of offsets) {
    const manifest = await readManifest(store, partition, offset, readingOf(inHistory));
    if (manifest?.logId === logId) own.push(offset);
  }
  return own;
}

/** Offsets of the checkpoints of a partition, newest first. */
export async function listCheckpoints(
  store: StateStore,
  partition: number,
  reading: Reading = 'samples',
): Promise<number[]> {
  const keys = await store.list(partitionPrefix(partition, reading));
  return keys
    .filter((key) => key.endsWith(MANIFEST))
    .map((key) => offsetOf(key, reading))
    .filter((offset) => !Number.isNaN(offset))
    .sort((a, b) => b - a);
}

const UNUSABLE = 'A checkpoint cannot be used; trying an older one';

/**
 * Puts the newest sound checkpoint not beyond `high` into `partition`, which must be empty. Resolves with its manifest;
 * undefined when there is none, and the log has to be read from its beginning. A damaged one is named and passed over.
 */
export async function restoreCheckpoint(
  store: StateStore,
  partition: Partition,
  options: { lineage: Lineage; high: number; logger: Logger; reading?: Reading },
): Promise<Checkpoint | undefined> {
  const { lineage, logger, reading = 'samples' } = options;
  for (const offset of await listCheckpoints(store, lineage.partition, reading)) {
    const where = { partition: lineage.partition, offset, reading };
    if (offset > options.high) {
      logger.warn(where, 'A checkpoint lies beyond the end of the log; it is passed over');
      continue;
    }
    const manifest = await findManifest(store, lineage.partition, offset, reading);
    if (manifest === undefined) continue;
    if (manifest === 'damaged') {
      logger.error({ ...where, problem: 'damaged' }, UNUSABLE);
      continue;
    }
    if (
      manifest.version > CHECKPOINT_VERSION ||
      manifest.recordFormat > partition.forest.recordFormat
    ) {
      throw new OperatingError(
        'data_dir_newer',
        `The learnt state was written by a newer Treeline (checkpoint ${manifest.version}, record format ` +
          `${manifest.recordFormat}); start that version, or another data directory`,
      );
    }
    const problem = unfit(manifest, partition, lineage);
    const whole = problem === undefined ? await readChunks(store, manifest) : undefined;
    if (whole === undefined) {
      logger.error({ ...where, problem: problem ?? 'damaged' }, UNUSABLE);
      continue;
    }
    fill(partition, manifest, whole);
    return manifest;
  }
  return undefined;
}

/** Of a program that ran before anything was sent to it: nothing speaks against history. */
export function isOfNothing({ offset, historyNext, controlNext, entryEnd }: Checkpoint): boolean {
  return offset + historyNext + controlNext === 0n && entryEnd === 0;
}

/** Undefined when there is none, or none that can be believed. */
export async function readManifest(
  store: StateStore,
  partition: number,
  offset: number,
  reading: Reading = 'samples',
): Promise<Checkpoint | undefined> {
  const found = await findManifest(store, partition, offset, reading);
  return found === 'damaged' ? undefined : found;
}

async function findManifest(
  store: StateStore,
  partition: number,
  offset: number,
  reading: Reading,
): Promise<Checkpoint | 'damaged' | undefined> {
  const bytes = await store.get(partitionPrefix(partition, reading) + pad(offset, 16) + MANIFEST);
  return bytes === undefined ? undefined : (decodeManifest(bytes) ?? 'damaged');
}

function unfit(manifest: Checkpoint, partition: Partition, lineage: Lineage): string | undefined {
  const { forest } = partition;
  if (manifest.logId !== lineage.logId) return 'of another log';
  if (manifest.partitions !== lineage.partitions) return 'of another number of partitions';
  if (manifest.recordFormat !== forest.recordFormat) return 'of another record format';
  if (manifest.recordBytes !== forest.recordBytes) return 'of another record size';
  if (manifest.seed !== lineage.seed) return 'of another table of trees';
  if (manifest.slotEnd > partition.slots.limits.slotsMax)
    return 'of more series than the ceiling admits';
  return undefined;
}

/** Its bytes; undefined when one is missing or not what was written. */
export async function readChunks(
  store: StateStore,
  manifest: Checkpoint,
): Promise<Buffer | undefined> {
  const { inHistory, historyNext, offset } = manifest;
  const prefix = prefixOf(manifest, Number(inHistory ? historyNext : offset));
  const chunks: Uint8Array[] = [];
  for (const [index, { bytes, crc32: wanted }] of manifest.chunk.entries()) {
    const chunk = await store.get(`${prefix}/${pad(index, 6)}`);
    if (chunk === undefined || chunk.length !== bytes || crc32(chunk) !== wanted) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The sections of a checkpoint's bytes, as views of them. */
export function sectionsOf(
  manifest: Checkpoint,
  whole: Buffer,
): Pick<Snapshot, 'dictionary' | 'histograms' | 'noise' | 'shown' | 'records' | 'entities'> {
  const { dictionaryBytes, histogramBytes, noiseBytes, shownBytes } = manifest;
  let at = 0;
  const take = (bytes: number) => {
    at += bytes;
    return whole.subarray(at - bytes, at);
  };
  const dictionary = take(dictionaryBytes);
  const histograms = take(histogramBytes);
  const noise = take(noiseBytes);
  const shown = take(shownBytes);
  const records = take(manifest.slotEnd * manifest.recordBytes);
  const entities = whole.subarray(at);
  assert.equal(entities.length, manifest.entityBytes);
  return { dictionary, histograms, noise, shown, records, entities };
}

function fill(partition: Partition, manifest: Checkpoint, whole: Buffer): void {
  const { slots, forest } = partition;
  const { dictionary, histograms, noise, shown, records, entities } = sectionsOf(manifest, whole);
  for (const row of readDictionary(dictionary)) slots.restore(row.entry, row, row.announcement);
  slots.finishRestore(manifest.entryEnd, manifest.slotEnd);
  forest.restore(records);
  if (histograms.length > 0) partition.histograms.restore(histograms);
  partition.entities.restore(entities);
  for (const outcome of OUTCOMES) partition.counts[outcome] = manifest.outcomes?.[outcome] ?? 0;
  partition.gapRecords = manifest.outcomes?.gapRecords ?? 0;
  partition.streamTimeMs = manifest.streamTimeMs;
  partition.nextSweepMs = manifest.nextSweepMs;
  partition.control.next = Number(manifest.controlNext);
  partition.noise.restore(noise, shown, manifest.unsuited);
  partition.history.restore(manifest);
  partition.findFlagged();
}

function readingOf(inHistory: boolean): Reading {
  return inHistory ? 'history' : 'samples';
}

function partitionPrefix(partition: number, reading: Reading): string {
  return `checkpoint/${pad(partition, 3)}/${reading === 'history' ? HISTORY : ''}`;
}

function prefixOf(
  { partition, inHistory }: Pick<Checkpoint, 'partition' | 'inHistory'>,
  offset: number,
): string {
  return partitionPrefix(partition, readingOf(inHistory)) + pad(offset, 16);
}

/** NaN of a key of the other log. */
function offsetOf(key: string, reading: Reading): number {
  const place = key.split('/')[2] as string;
  return Number(reading === 'history' ? place.slice(HISTORY.length) : place);
}

function pad(number: number, digits: number): string {
  return String(number).padStart(digits, '0');
}
