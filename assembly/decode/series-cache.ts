// Which series are known, what is to become of them and when their labels were last announced. Open
// addressing with linear probing by fingerprint; an entry is never removed, the whole table is
// cleared when it is three quarters full, and only between two requests, so that an entry found
// while a request is walked stays where it is.
//
//   0           8                  12      14      16
//   fingerprint | announcedSeconds | state | epoch |
//
// state: in the lowest 3 bits 0 free, 1 pending (the host has not said yet; announcedSeconds is then
// the request), 2 + disposition; above them the kind (families.ts) that was announced.
// epoch: a new one begins when all announcements are to be forgotten and when a family of metrics is
// learnt. An announcement counts only when it was made since they were last forgotten; a kind is
// looked up again when it was looked up in an earlier epoch.

import { CacheEntry, cacheRegion, settings } from './layout';

const FREE: u16 = 0;
const PENDING: u16 = 1;
const KNOWN: u16 = 2;
/** Disposition of a series that is to be logged. */
export const KEEP: u32 = 0;

const STATE_BITS: u16 = 3;
const STATE_MASK: u16 = 7;

let used: u32 = 0;
let request: u32 = 0;
let epoch: u16 = 1;
/** The epoch in which announcements were last forgotten. */
let forgotten: u16 = 1;
export let cacheClears: u32 = 0;

/**
 * Call at the start of every request. Room for a whole request of new series is left above three
 * quarters.
 */
export function beginRequest(): void {
  const entries = settings().cacheEntries;
  request++;
  if (used < (entries >> 2) * 3) return;
  memory.fill(cacheRegion, 0, <usize>entries * offsetof<CacheEntry>());
  used = 0;
  cacheClears++;
}

/** The entry of a fingerprint; a new one is pending. */
export function findEntry(fingerprint: u64): CacheEntry {
  const mask = settings().cacheEntries - 1;
  let index = <u32>fingerprint & mask;
  while (true) {
    const entry = entryAt(index);
    if (entry.state === FREE) {
      entry.fingerprint = fingerprint;
      entry.state = PENDING;
      entry.announcedSeconds = 0;
      entry.epoch = 0;
      used++;
      return entry;
    }
    if (entry.fingerprint === fingerprint) return entry;
    index = (index + 1) & mask;
  }
}

/**
 * True once per request for a series whose disposition is not known, whatever became of earlier
 * requests.
 */
export function wantsDisposition(entry: CacheEntry): bool {
  if (entry.state !== PENDING || entry.announcedSeconds === request) return false;
  entry.announcedSeconds = request;
  return true;
}

export function settleEntry(entry: CacheEntry, disposition: u32): void {
  if (entry.state !== PENDING) return;
  entry.state = KNOWN + <u16>disposition;
  entry.announcedSeconds = 0;
  entry.epoch = 0;
}

export function dispositionOf(entry: CacheEntry): u32 {
  const state = entry.state & STATE_MASK;
  assert(state >= KNOWN);
  return state - KNOWN;
}

export function kindOfEntry(entry: CacheEntry): u32 {
  return entry.state >> STATE_BITS;
}

/** Whether a family was learnt since the kind of this series was looked up. */
export function mayHaveNewKind(entry: CacheEntry): bool {
  return entry.epoch !== epoch;
}

/**
 * Whether the labels have to go into the log now; if so, takes it for done. Whole seconds, rounded
 * so that an announcement is at most the interval old; a clock that was set back announces again.
 */
export function takeAnnouncement(entry: CacheEntry, kind: u32, nowSeconds: u32): bool {
  const isCurrent = entry.epoch >= forgotten && kindOfEntry(entry) === kind;
  entry.epoch = epoch;
  if (isCurrent && nowSeconds - entry.announcedSeconds < settings().announceMs / 1000) return false;
  entry.announcedSeconds = nowSeconds;
  entry.state = (entry.state & STATE_MASK) | <u16>(kind << STATE_BITS);
  return true;
}

export function forgetAll(): void {
  beginEpoch();
  forgotten = epoch;
}

export function beginEpoch(): void {
  if (epoch < u16.MAX_VALUE) {
    epoch++;
    return;
  }
  const entries = settings().cacheEntries;
  for (let i: u32 = 0; i < entries; i++) {
    const entry = entryAt(i);
    if (entry.epoch !== 0) entry.epoch = entry.epoch >= forgotten ? 1 : 0;
  }
  forgotten = 1;
  epoch = 2;
}

function entryAt(index: u32): CacheEntry {
  return changetype<CacheEntry>(cacheRegion + <usize>index * offsetof<CacheEntry>());
}
