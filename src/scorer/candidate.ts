// What a scorer says of a suspicious sample: the record of the candidates log, made of a phase that the partition reports. At
// an onset it may carry the series' window, which is what the deep check looks at.

import { create, toBinary } from '@bufbuild/protobuf';
import { CandidateSchema, Cause, Phase, type Window, WindowSchema } from '../gen/candidate_pb.js';
import { YOUNG_MS } from '../limits.js';
import { featureShares } from './entity-view.js';
import type { Partition } from './partition.js';
import type { PhaseChange } from './phase-change.js';
import { NO_SLOT } from './slots.js';

export function encodeCandidate(
  partition: Partition,
  change: PhaseChange,
  window: Window | undefined,
): Uint8Array {
  const { slots } = partition;
  const { entry, timestampMs, onsetMs, phase, cause, ...measures } = change;
  const candidate = create(CandidateSchema, {
    ...measures,
    tenant: partition.tenant(entry),
    fingerprint: (BigInt(slots.highOf(entry)) << 32n) | BigInt(slots.lowOf(entry)),
    timestampMs: BigInt(timestampMs),
    onsetMs: BigInt(onsetMs),
    phase: Phase[phase.toUpperCase() as keyof typeof Phase],
    cause: cause === 'none' ? Cause.UNSPECIFIED : Cause[cause.toUpperCase() as keyof typeof Cause],
    label: partition.labels(entry),
    feature: featureShares(partition, entry),
    isYoung: isYoung(partition, entry),
    ...(window !== undefined && { window }),
  });
  return toBinary(CandidateSchema, candidate);
}

/** Less than a day's worth of its samples has been seen. */
function isYoung({ slots, forest }: Partition, entry: number): boolean {
  const slot = slots.slotOf(entry);
  if (slot === NO_SLOT) return false;
  const { samples, intervalMs } = forest.view(slot);
  return samples * intervalMs < YOUNG_MS;
}

/**
 * The window up to the sample that the phase is about; undefined where windows are not kept, and of a series that has no
 * two values in equal steps.
 */
export function windowOf(
  partition: Partition,
  { entry, timestampMs, onsetMs }: Pick<PhaseChange, 'entry' | 'timestampMs' | 'onsetMs'>,
): Window | undefined {
  const slot = partition.slots.slotOf(entry);
  const { windows } = partition.forest;
  if (windows === undefined || slot === NO_SLOT) return undefined;
  const { stepMs, values } = windows.recent(slot, timestampMs);
  if (values.length < 2) return undefined;
  const suspicious = Math.round((timestampMs - onsetMs) / stepMs) + 1;
  return create(WindowSchema, {
    intervalMs: BigInt(Math.round(stepMs)),
    value: [...values],
    suspiciousFrom: Math.max(values.length - suspicious, 0),
  });
}
