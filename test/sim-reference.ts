// What must come out of a log, computed without any of the machinery that is simulated: its records are applied one
// after another to one partition.

import { OperatingError } from '../src/errors.js';
import { type Candidate, Phase } from '../src/gen/candidate_pb.js';
import { type Lineage, stateHash, takeSnapshot } from '../src/scorer/checkpoint.js';
import { Partition } from '../src/scorer/partition.js';
import type { PhaseChange } from '../src/scorer/phase-change.js';
import type { WasmForest } from '../src/scorer/wasm-forest.js';
import { SIM_RULES } from './sim-words.js';

export interface Reference {
  /** State hashes at the offsets that were asked for. */
  hashes: Map<number, string>;
  /** Texts of the candidates, with the offset of the record that led to each. */
  candidates: { offset: number; text: string }[];
  counts: Record<string, number>;
}

export function referenceOf(
  records: readonly Uint8Array[],
  options: {
    createForest: (seriesMax: number) => WasmForest;
    seriesMax: number;
    lineage: Lineage;
    offsets: ReadonlySet<number>;
  },
): Reference {
  const { createForest, seriesMax, lineage, offsets } = options;
  const partition = new Partition(createForest(seriesMax), seriesMax);
  partition.noise.begin(SIM_RULES);
  const candidates: Reference['candidates'] = [];
  const hashes = new Map<number, string>();
  let at = 0;
  partition.listen({
    onPhase: (change) => candidates.push({ offset: at, text: textOfChange(partition, change) }),
    onOpened() {},
    onRemoved() {},
  });
  const note = (offset: number) => {
    if (!offsets.has(offset)) return;
    const hash = stateHash(takeSnapshot(partition, lineage, offset));
    hashes.set(offset, Buffer.from(hash).toString('hex'));
  };
  for (const [offset, record] of records.entries()) {
    note(offset);
    at = offset;
    try {
      partition.apply(record);
    } catch (error) {
      // A record that cannot be read is left out; nothing else may be wrong.
      if (!(error instanceof OperatingError && error.code === 'record_unreadable')) throw error;
    }
  }
  note(records.length);
  return { hashes, candidates, counts: { ...partition.counts } };
}

function textOfChange(partition: Partition, change: PhaseChange): string {
  const { slots } = partition;
  const { entry, phase, timestampMs, onsetMs, value, score, expected, lower, upper } = change;
  const name = partition.labels(entry).find((label) => label.name === '__name__')?.value;
  const fingerprint = (BigInt(slots.highOf(entry)) << 32n) | BigInt(slots.lowOf(entry));
  const numbers = [value, score, expected, lower, upper];
  return [fingerprint, name, phase, timestampMs, onsetMs, change.cause, ...numbers].join(' ');
}

const CAUSES = ['none', 'novelty', 'magnitude', 'quiet'];

export function textOfCandidate(candidate: Candidate): string {
  const { fingerprint, timestampMs, onsetMs, phase, cause, label } = candidate;
  const name = label.find((one) => one.name === '__name__')?.value;
  const { value, score, expected, lower, upper } = candidate;
  const phaseName = (Phase[phase] ?? '').toLowerCase();
  const numbers = [value, score, expected, lower, upper];
  return [fingerprint, name, phaseName, timestampMs, onsetMs, CAUSES[cause], ...numbers].join(' ');
}
