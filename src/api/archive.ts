// Keeps anomalies and decisions in the state store, so that they outlive the candidates log and restarts. What changed is
// written first and the position of the log last: after a crash some candidates are folded in again, which changes
// nothing.
//
//   anomaly/<id>.                    Anomaly (proto/anomaly.proto); the dot ends the id, for deletion is by prefix
//   notice/<anomaly id>.             Notice
//   fold/<partition>                 FoldPosition, of the candidates log
//   verdict-fold/<partition>         FoldPosition, of the verdicts log
//   fold/begun                       FoldPosition, whose first_ms is when an api first started on this store

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  AnomalySchema,
  type FoldPosition,
  FoldPositionSchema,
  type Notice,
  NoticeSchema,
} from '../gen/anomaly_pb.js';
import { Cause } from '../gen/candidate_pb.js';
import { fingerprintText } from '../series.js';
import type { StateStore } from '../state/state-store.js';
import { type Anomaly, causeName, featuresOf } from './anomalies.js';
import { verdictMessage, verdictOf } from './verdicts.js';

const ANOMALY = 'anomaly/';
const NOTICE = 'notice/';
export const CANDIDATE_FOLD = 'fold/';
export const VERDICT_FOLD = 'verdict-fold/';
const BEGUN = `${CANDIDATE_FOLD}begun`;
/** Values read or written before others have their turn. */
const VALUES_PER_TURN = 500;

export async function loadAnomalies(
  store: StateStore,
  take: (anomaly: Anomaly) => void,
): Promise<void> {
  await each(store, ANOMALY, (bytes) => take(anomalyOf(bytes)));
}

export async function loadNotices(
  store: StateStore,
  take: (notice: Notice) => void,
): Promise<void> {
  await each(store, NOTICE, (bytes) => take(fromBinary(NoticeSchema, bytes)));
}

/** Those of these anomalies that anything was decided of. */
export async function noticesOf(store: StateStore, ids: readonly string[]): Promise<Notice[]> {
  const values = await Promise.all(ids.map((id) => store.get(`${NOTICE}${id}.`)));
  return values.flatMap((bytes) => (bytes === undefined ? [] : [fromBinary(NoticeSchema, bytes)]));
}

/** Ids of all anomalies that are stored. */
export async function storedAnomalies(store: StateStore): Promise<string[]> {
  return (await store.list(ANOMALY)).map((key) => key.slice(ANOMALY.length, -1));
}

/** What is stored of these anomalies. */
export async function storedOf(
  store: StateStore,
  anomalies: Iterable<Anomaly>,
): Promise<Map<Anomaly, Uint8Array>> {
  const all = [...anomalies];
  const found = new Map<Anomaly, Uint8Array>();
  for (let at = 0; at < all.length; at += VALUES_PER_TURN) {
    const turn = all.slice(at, at + VALUES_PER_TURN);
    const values = await Promise.all(turn.map(({ id }) => store.get(`${ANOMALY}${id}.`)));
    for (const [index, bytes] of values.entries()) {
      if (bytes !== undefined) found.set(turn[index] as Anomaly, bytes);
    }
  }
  return found;
}

/** Of each partition that has one, also of another log. */
export async function loadPositions(
  store: StateStore,
  fold: typeof CANDIDATE_FOLD | typeof VERDICT_FOLD,
  partitions: number,
): Promise<Map<number, FoldPosition>> {
  const positions = new Map<number, FoldPosition>();
  for (let partition = 0; partition < partitions; partition++) {
    const bytes = await store.get(`${fold}${partition}`);
    if (bytes !== undefined) positions.set(partition, fromBinary(FoldPositionSchema, bytes));
  }
  return positions;
}

export async function savePosition(
  store: StateStore,
  key: string,
  position: { logId: string; next: number; firstMs?: number; newestMs?: number },
): Promise<void> {
  const { logId, next, firstMs = Number.NaN, newestMs = Number.NaN } = position;
  const message = create(FoldPositionSchema, {
    logId,
    next: BigInt(next),
    ...(Number.isFinite(firstMs) && { firstMs: BigInt(firstMs) }),
    ...(Number.isFinite(newestMs) && { newestMs: BigInt(newestMs) }),
  });
  await store.put(key, toBinary(FoldPositionSchema, message));
}

/** When an api first started on this store, by its clock; from now on now, if nobody has yet. */
export async function begunOn(store: StateStore, nowMs: number): Promise<number> {
  const now = create(FoldPositionSchema, { firstMs: BigInt(Math.floor(nowMs)) });
  // The first one stands, whoever else comes at the same time.
  await store.advance(BEGUN, toBinary(FoldPositionSchema, now), 1);
  const bytes = await store.get(BEGUN);
  return bytes === undefined ? nowMs : Number(fromBinary(FoldPositionSchema, bytes).firstMs);
}

export interface Changes {
  anomalies: Iterable<Anomaly>;
  notices: ReadonlyMap<string, Notice>;
  /** Ids of anomalies; what was decided of them goes with them. */
  forgotten: Iterable<string>;
}

/** Resolves once everything is durable. */
export async function save(store: StateStore, changes: Changes): Promise<void> {
  let writing: Promise<void>[] = [];
  const settle = async (limit: number) => {
    if (writing.length < limit) return;
    await Promise.all(writing);
    writing = [];
  };
  for (const id of changes.forgotten) {
    writing.push(store.deleteAll(`${ANOMALY}${id}.`), store.deleteAll(`${NOTICE}${id}.`));
    await settle(VALUES_PER_TURN);
  }
  for (const anomaly of changes.anomalies) {
    writing.push(store.put(`${ANOMALY}${anomaly.id}.`, bytesOf(anomaly)));
    await settle(VALUES_PER_TURN);
  }
  for (const [id, notice] of changes.notices) {
    writing.push(store.put(`${NOTICE}${id}.`, toBinary(NoticeSchema, notice)));
    await settle(VALUES_PER_TURN);
  }
  await settle(0);
}

async function each(
  store: StateStore,
  prefix: string,
  take: (bytes: Uint8Array) => void,
): Promise<void> {
  const keys = await store.list(prefix);
  for (let at = 0; at < keys.length; at += VALUES_PER_TURN) {
    const turn = keys.slice(at, at + VALUES_PER_TURN);
    for (const bytes of await Promise.all(turn.map((key) => store.get(key)))) {
      if (bytes !== undefined) take(bytes);
    }
  }
}

/** As it is stored, and as it is told in the topic of anomalies. */
export function bytesOf(anomaly: Anomaly): Uint8Array {
  const { tenant, fingerprint, labels, cause, endMs, onsetMs, peakMs, verdict } = anomaly;
  const { score, value, expected, lower, upper, features, isYoung } = anomaly;
  return toBinary(
    AnomalySchema,
    create(AnomalySchema, {
      tenant,
      fingerprint: BigInt(`0x${fingerprint}`),
      onsetMs: BigInt(onsetMs),
      peakMs: BigInt(peakMs),
      ...{ score, value, expected, lower, upper, isYoung },
      cause: Cause[cause.toUpperCase() as keyof typeof Cause],
      ...(endMs !== undefined && { endMs: BigInt(endMs) }),
      label: labels.map(({ name, value }) => ({ name, value })),
      feature: features.map(({ name, share, value }) => ({
        ...{ name, share },
        ...(value !== undefined && { value }),
      })),
      ...(verdict !== undefined && { verdict: verdictMessage(verdict) }),
    }),
  );
}

function anomalyOf(bytes: Uint8Array): Anomaly {
  const kept = fromBinary(AnomalySchema, bytes);
  const { tenant, score, value, expected, lower, upper, isYoung } = kept;
  const low = Number(kept.fingerprint & 0xffffffffn);
  const fingerprint = fingerprintText(low, Number(kept.fingerprint >> 32n));
  const onsetMs = Number(kept.onsetMs);
  return {
    id: `${fingerprint}-${onsetMs}`,
    tenant,
    fingerprint,
    labels: kept.label.map(({ name, value: text }) => ({ name, value: text })),
    onsetMs,
    peakMs: Number(kept.peakMs),
    ...{ score, value, expected, lower, upper, isYoung },
    cause: causeName(kept.cause),
    features: featuresOf(kept.feature),
    endMs: kept.endMs === undefined ? undefined : Number(kept.endMs),
    verdict: kept.verdict && verdictOf(kept.verdict),
    previousId: undefined,
  };
}
