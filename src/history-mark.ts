// The records of the log of history that are no samples: who fills it, how far it is, and where it ends. A mark is a
// SampleBlock with field 9 and nothing else, and field 9 comes first in no other record, so one byte tells them apart.
// Writers (src/backfill/) and readers (src/scorer/history.ts) meet here and nowhere else.
//
//   ┌──────┬─────┬─────────────┐
//   │ 0x4a │ len │ HistoryMark │
//   └──────┴─────┴─────────────┘

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  HistoryEnd,
  HistoryMarkKind,
  SampleBlockSchema,
  type HistoryMark as WireMark,
} from './gen/sample_block_pb.js';

export type HistoryEnding = 'complete' | 'empty' | 'given_up' | 'too_late' | 'silent';

export interface HistoryRange {
  startMs: number;
  endMs: number;
  /** Every step up to this one is durable in every partition. */
  doneMs: number;
}

export interface HistoryMark extends HistoryRange {
  kind: 'claim' | 'progress' | 'fence';
  /** In hex; empty where a scorer wrote it. */
  filler: string;
  /** Of a claim in partition 0: the offset at which it counts. */
  claimOffset: number;
  /** Of a fence. */
  end?: HistoryEnding;
}

const MARK_TAG = (9 << 3) | 2;
const KINDS = ['claim', 'progress', 'fence'] as const;
const ENDINGS = ['complete', 'empty', 'given_up', 'too_late', 'silent'] as const;
/** Of a mark whose writer knows no range. */
export const NO_RANGE: HistoryRange = { startMs: 0, endMs: 0, doneMs: 0 };

export function encodeMark(mark: HistoryMark): Uint8Array {
  const { kind, filler, claimOffset, startMs, endMs, doneMs, end } = mark;
  const history = {
    kind: HistoryMarkKind[kind.toUpperCase() as 'CLAIM'],
    filler: Buffer.from(filler, 'hex'),
    claimOffset: BigInt(claimOffset),
    startMs: BigInt(startMs),
    endMs: BigInt(endMs),
    doneMs: BigInt(doneMs),
    end: end === undefined ? 0 : HistoryEnd[end.toUpperCase() as 'COMPLETE'],
  };
  return toBinary(SampleBlockSchema, create(SampleBlockSchema, { history }));
}

/** Undefined of a record of samples, and of a mark of a kind that only a newer version knows. */
export function markOf(record: Uint8Array): HistoryMark | undefined {
  if (!isMark(record)) return undefined;
  const wire = readable(record);
  const kind = wire === undefined ? undefined : KINDS[wire.kind - 1];
  if (wire === undefined || kind === undefined) return undefined;
  const end = ENDINGS[wire.end - 1];
  return {
    kind,
    filler: Buffer.from(wire.filler).toString('hex'),
    claimOffset: Number(wire.claimOffset),
    startMs: Number(wire.startMs),
    endMs: Number(wire.endMs),
    doneMs: Number(wire.doneMs),
    ...(end !== undefined && { end }),
  };
}

/** Whether it is no samples, whatever it says. */
export function isMark(record: Uint8Array): boolean {
  return record[0] === MARK_TAG;
}

/** 0 to 1. */
export function shareOf({ startMs, endMs, doneMs }: HistoryRange): number {
  if (endMs <= startMs) return doneMs >= endMs ? 1 : 0;
  return Math.min(1, Math.max(0, (doneMs - startMs) / (endMs - startMs)));
}

function readable(record: Uint8Array): WireMark | undefined {
  try {
    return fromBinary(SampleBlockSchema, record).history;
  } catch {
    return undefined; // expected: bytes that are no message; a mark that nobody can read marks nothing
  }
}
