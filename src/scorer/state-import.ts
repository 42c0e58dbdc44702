// From a state file to checkpoints of another log, with whatever number of partitions. The target has learnt nothing
// yet: each of its partitions gets one checkpoint, at the offset where its log ends now. The file is read once to see
// whether all of it is sound and where everything goes, then once more for as many partitions as fit into memory. The
// manifests are written last, when all chunks lie there, so that an import happened or did not.
//
// A series keeps how long it has been silent, counted from the stream time of its partition, which becomes the newest of
// those that meet in it: a partition that was behind does not lose its series to the idle sweep.

import { create } from '@bufbuild/protobuf';
import { OperatingError } from '../errors.js';
import { CheckpointSchema } from '../gen/checkpoint_pb.js';
import { IMPORT_BYTES_MAX, SWEEP_MS } from '../limits.js';
import type { Bounds, Log } from '../log/log.js';
import type { StateStore } from '../state/state-store.js';
import {
  listCheckpoints,
  readManifest,
  type Snapshot,
  WITH_HISTOGRAMS,
  writeChunks,
} from './checkpoint.js';
import { dictionaryRowBytes, encodeDictionaryRow } from './dictionary.js';
import {
  encodeHistograms,
  type HistogramState,
  membersOf,
  renumberHistogram,
} from './histogram-state.js';
import { forgetOrigins, writeOrigin } from './origin.js';
import { NO_ENTRY, NO_SLOT } from './slots.js';
import { StateWriter } from './state-bytes.js';
import type { RecordLayout } from './state-export.js';
import { ROW_LEFT_OUT, type StateRow } from './state-file.js';
import { readStateFile, type StateFileSource } from './state-file-reader.js';
import {
  NOWHERE,
  type PlaceSeries,
  type Survey,
  surveyStateFile,
  type TargetSize,
} from './state-survey.js';

const CHECKPOINTS = 'checkpoint/';

export interface ImportSite {
  log: Log;
  store: StateStore;
  layout: RecordLayout;
  place: PlaceSeries;
}

export interface ImportReport extends Pick<Survey, 'head' | 'counts' | 'learnt' | 'leftOut'> {
  /** Series of each partition of the target. */
  partitions: number[];
  /** Histograms whose parts did not meet in one partition: what they gathered begins anew. */
  begunAnew: number;
  /** Records in the target's log that will not be scored. */
  recordsPassed: number;
}

export async function importState(
  source: StateFileSource,
  site: ImportSite,
  options: { force?: boolean } = {},
): Promise<ImportReport> {
  const { log, store, layout, place } = site;
  await expectNoState(site);
  const bounds: Bounds[] = [];
  for (let partition = 0; partition < log.partitions; partition++) {
    bounds.push(await log.bounds('samples', partition));
  }
  const recordsPassed = bounds.reduce((sum, { high }) => sum + high, 0);
  if (recordsPassed > 0 && options.force !== true) {
    throw new OperatingError(
      'state_present',
      `The target's log has taken ${recordsPassed} records already, which would lie before the imported state and ` +
        'never be scored; import before anything is sent there, or add --force to pass over them',
    );
  }
  const survey = await surveyStateFile(source, { layout, place, partitions: log.partitions });
  const { head, counts, learnt, leftOut, sizes } = survey;
  const commits: (() => Promise<void>)[] = [];
  let begunAnew = 0;
  try {
    // Checkpoints without series, and chunks of an import that was ended in the middle.
    await store.deleteAll(CHECKPOINTS);
    await forgetOrigins(store);
    for (const group of groupsOf(sizes, layout)) {
      const filled = await fillGroup(source, survey, { site, group, bounds });
      begunAnew += filled.begunAnew;
      for (const snapshot of filled.snapshots) commits.push(await writeChunks(store, snapshot));
    }
    for (const [partition, { high: offset }] of bounds.entries()) {
      await writeOrigin(store, { logId: log.id, partition, offset });
    }
    for (const commit of commits) await commit();
  } catch (error) {
    await store.deleteAll(CHECKPOINTS);
    await forgetOrigins(store);
    throw error;
  }
  const partitions = sizes.map(({ series }) => series);
  return { head, counts, learnt, leftOut, partitions, begunAnew, recordsPassed };
}

/** A program that was started and never sent anything has checkpoints without series. */
async function expectNoState({ store, log }: ImportSite): Promise<void> {
  for (let partition = 0; partition < log.partitions; partition++) {
    for (const offset of await listCheckpoints(store, partition)) {
      const manifest = await readManifest(store, partition, offset);
      if ((manifest?.entryEnd ?? 0) === 0) continue;
      throw new OperatingError(
        'state_present',
        `The target has learnt something already (partition ${partition}, offset ${offset}), and two states cannot be ` +
          'made one; import into a new data directory or a new log.prefix',
      );
    }
  }
}

/** Neighbouring partitions that are filled in one reading. */
function groupsOf(
  sizes: readonly TargetSize[],
  { recordBytes }: RecordLayout,
): { from: number; to: number }[] {
  const groups: { from: number; to: number }[] = [];
  let held = Number.POSITIVE_INFINITY;
  for (const [partition, { series, scored, labels }] of sizes.entries()) {
    const bytes = series * dictionaryRowBytes(new Uint8Array()) + labels + scored * recordBytes;
    const last = groups.at(-1);
    if (last !== undefined && held + bytes <= IMPORT_BYTES_MAX) {
      last.to = partition + 1;
      held += bytes;
    } else {
      groups.push({ from: partition, to: partition + 1 });
      held = bytes;
    }
  }
  return groups;
}

async function fillGroup(
  source: StateFileSource,
  survey: Survey,
  options: { site: ImportSite; group: { from: number; to: number }; bounds: readonly Bounds[] },
): Promise<{ snapshots: Snapshot[]; begunAnew: number }> {
  const { site, group, bounds } = options;
  const { places, origins, sizes } = survey;
  const targets = sizes
    .slice(group.from, group.to)
    .map((size) => new TargetPartition(size, site.layout));
  const targetAt = (place: number) => targets[place - group.from];
  /** Of each series its entry in its partition. */
  const entries = new Uint32Array(places.length);
  let [at, origin, begunAnew] = [0, -1, 0];
  for await (const piece of readStateFile(source)) {
    if (piece.kind === 'partition') origin++;
    else if (piece.kind === 'rows') {
      for (const row of piece.rows) {
        const target = targetAt(places[at]!);
        if (target !== undefined) {
          entries[at] = target.addRow(row, origins[origin]!.streamTimeMs);
        }
        at++;
      }
    } else if (piece.kind === 'histograms') {
      for (const histogram of piece.histograms) {
        const members = membersOf(histogram).map((member) => places[member] ?? NOWHERE);
        const place = members.find((each) => each !== NOWHERE) ?? NOWHERE;
        const target = targetAt(place);
        if (target === undefined) continue;
        const isWhole = members.every((each) => each === place);
        const entryOf = (number: number) =>
          places[number] === place ? entries[number]! : NO_ENTRY;
        if (!isWhole || !target.addHistogram(histogram, entryOf)) begunAnew++;
      }
    }
  }
  const snapshots = targets.map((target, i) =>
    target.snapshot(site, group.from + i, bounds[group.from + i]!),
  );
  return { snapshots, begunAnew };
}

/** One partition of the target while it is filled: entries and slots in the order in which series come. */
class TargetPartition {
  readonly #size: TargetSize;
  readonly #layout: RecordLayout;
  readonly #dictionary: StateWriter;
  readonly #records: Uint8Array;
  readonly #leftOut: number[] = [];
  readonly #histograms = new Map<string, { first: number; histogram: HistogramState }>();
  #entryEnd = 0;
  #slotEnd = 0;

  constructor(size: TargetSize, layout: RecordLayout) {
    this.#size = size;
    this.#layout = layout;
    const heads = size.series * dictionaryRowBytes(new Uint8Array());
    this.#dictionary = new StateWriter(heads + size.labels);
    this.#records = new Uint8Array(size.scored * layout.recordBytes);
  }

  addRow(row: StateRow, originMs: number): number {
    const entry = this.#entryEnd++;
    const isScored = row.record.length > 0;
    const slot = isScored ? this.#slotEnd++ : NO_SLOT;
    if (isScored) this.#records.set(row.record, slot * this.#layout.recordBytes);
    const shiftMs = Number.isFinite(originMs) ? this.#size.streamTimeMs - originMs : 0;
    encodeDictionaryRow(this.#dictionary, { ...row, entry, slot, seen: row.seen + shiftMs });
    if ((row.flags & ROW_LEFT_OUT) !== 0) this.#leftOut.push(entry);
    return entry;
  }

  /** False when there is one of this key. */
  addHistogram(histogram: HistogramState, entryOf: (number: number) => number): boolean {
    if (this.#histograms.has(histogram.key)) return false;
    renumberHistogram(histogram, entryOf);
    const derived = histogram.derived.filter((entry) => entry !== NO_ENTRY);
    const first = Math.min(...membersOf(histogram), ...derived);
    this.#histograms.set(histogram.key, { first, histogram });
    return true;
  }

  snapshot({ log, layout }: ImportSite, partition: number, { high, samples }: Bounds): Snapshot {
    const { streamTimeMs } = this.#size;
    const dictionary = this.#dictionary.written();
    const histograms = encodeHistograms({
      leftOut: this.#leftOut,
      histograms: [...this.#histograms.values()]
        .sort((a, b) => a.first - b.first)
        .map(({ histogram }) => histogram),
    });
    const manifest = create(CheckpointSchema, {
      ...layout,
      // Offsets of another log's control mean nothing here, so there is none, and nothing that follows from it.
      version: WITH_HISTOGRAMS,
      controlNext: 0n,
      partition,
      partitions: log.partitions,
      logId: log.id,
      offset: BigInt(high),
      streamTimeMs,
      nextSweepMs: (Math.floor(streamTimeMs / SWEEP_MS) + 1) * SWEEP_MS,
      // The outcomes are those of this log's samples, so that they add up; what lies in it already is passed over.
      outcomes: { unscored: samples },
      entryEnd: this.#entryEnd,
      slotEnd: this.#slotEnd,
      dictionaryBytes: dictionary.length,
      histogramBytes: histograms.length,
    });
    // Entities gather and learn anew; the series of their distances are rows like others.
    const [noise, shown, entities] = [new Uint8Array(), new Uint8Array(), new Uint8Array()];
    const records = this.#records;
    return {
      ...{ offset: high, manifest, dictionary, histograms },
      ...{ noise, shown, records, entities },
    };
  }
}
