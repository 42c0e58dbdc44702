// Which series are known, what is to become of them and when their labels were last announced. Open
// addressing with linear probing by fingerprint; an entry is never removed, the whole table is
// cleared when it is three quarters full, and only between two requests, so that an entry found
// while a request is walked stays where it is.
//
//   0           8                  12        14            16
//   fingerprint | announcedSeconds | state   | generation  |
//
// state: 0 free, 1 pending (the host has not said yet; announcedSeconds is then the request), 2 +
// disposition. generation: an announcement counts only when it was made in the current one, so all
// are forgotten at once.

import { CacheEntry, cacheRegion, settings } from './layout';

const FREE: u16 = 0;
const PENDING: u16 = 1;
const KNOWN: u16 = 2;
/** Disposition of a series that is to be logged. */
export const KEEP: u32 = 0;

let used: u32 = 0;
let request: u32 = 0;
let generation: u16 = 1;
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
      entry.generation = 0;
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
  entry.generation = 0;
}

export function dispositionOf(entry: CacheEntry): u32 {
  assert(entry.state >= KNOWN);
  return entry.state - KNOWN;
}

/**
 * Whether the labels have to go into the log now; if so, takes it for done. Whole seconds, rounded
 * so that an announcement is at most the interval old; a clock that was set back announces again.
 */
export function takeAnnouncement(entry: CacheEntry, nowSeconds: u32): bool {
  const isCurrent = entry.generation === generation;
  if (isCurrent && nowSeconds - entry.announcedSeconds < settings().announceMs / 1000) return false;
  entry.announcedSeconds = nowSeconds;
  entry.generation = generation;
  return true;
}

export function forgetAll(): void {
  generation++;
  if (generation !== 0) return;
  generation = 1;
  const entries = settings().cacheEntries;
  for (let i: u32 = 0; i < entries; i++) {
    const entry = entryAt(i);
    if (entry.generation !== 0) entry.generation = 0;
  }
}

function entryAt(index: u32): CacheEntry {
  return changetype<CacheEntry>(cacheRegion + <usize>index * offsetof<CacheEntry>());
}
