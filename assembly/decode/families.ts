// Type and unit of metrics, as remote-write 1.0 tells them: in messages of their own, by the name
// of the metric's family, about once a minute. Two tables of bounded size: families by the hash of
// tenant and name, and the units, of which there are few. What does not fit is left out and counted.
// A series' type is looked up under its metric name, then under the name without a suffix that the
// family's type gives its parts.
//
//   kind = type | index of the unit, from 1, << 3           0: nothing is known

import { tenantHash } from './labels';
import { FamilyEntry, familiesRegion, settings, unitStride, unitsRegion } from './layout';
import { INVALID_METADATA } from './reasons';
import { NO_SERIES, rejectOther, results } from './results';
import { isUtf8 } from './utf8';
import { readLength, readTag, readVarint, skipField, varint } from './wire';
import { finish, xxh64 } from './xxhash';

const METADATA_TYPE: u32 = 0x08;
const METADATA_FAMILY: u32 = 0x12;
const METADATA_UNIT: u32 = 0x2a;
const METADATA_DEPTH: i32 = 2;

export const TYPE_BITS: u32 = 3;
export const TYPE_MAX: u32 = 7;
const COUNTER: u32 = 1 << 1;
const HISTOGRAM: u32 = 1 << 3;
const GAUGE_HISTOGRAM: u32 = 1 << 4;
const SUMMARY: u32 = 1 << 5;
const INFO: u32 = 1 << 6;

// The suffixes, little-endian: the last of 8 bytes in the highest.
const TOTAL: u64 = 0x6c61746f745f0000;
const SUM: u64 = 0x6d75735f00000000;
const COUNT: u64 = 0x746e756f635f0000;
const BUCKET: u64 = 0x74656b6375625f00;
const CREATED: u64 = 0x646574616572635f;
const INFO_SUFFIX: u64 = 0x6f666e695f000000;
const GAUGE_SUM: u64 = 0x6d7573675f000000;
const GAUGE_COUNT: u64 = 0x746e756f63675f00;

let families: u32 = 0;
let units: u32 = 0;

// The message that `readMetadata` read.
let type: u32 = 0;
let nameStart: usize = 0;
let nameBytes: u32 = 0;
let unitStart: usize = 0;
let unitBytes: u32 = 0;

export function knownFamilies(): u32 {
  return families;
}

export function knownUnits(): u32 {
  return units;
}

/** The host has copied both tables from another instance with the same settings. */
export function adoptTables(otherFamilies: u32, otherUnits: u32): void {
  families = otherFamilies;
  units = otherUnits;
}

/** One MetricMetadata message of version 1.0. Returns its end, or 0 after `fail`. */
export function readMetadata(start: usize, end: usize): usize {
  type = 0;
  nameBytes = 0;
  unitBytes = 0;
  let at = start;
  while (at < end) {
    let read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag === METADATA_TYPE) {
      at = readVarint(at, end);
      type = <u32>varint;
    } else if (tag === METADATA_FAMILY || tag === METADATA_UNIT) {
      read = readLength(at, end);
      if (read === 0) return 0;
      at = <usize>(read >> 32);
      if (tag === METADATA_FAMILY) {
        nameStart = at;
        nameBytes = <u32>read;
      } else {
        unitStart = at;
        unitBytes = <u32>read;
      }
      at += <u32>read;
    } else {
      at = skipField(at, end, tag, METADATA_DEPTH);
    }
    if (at === 0) return 0;
  }
  return end;
}

/** Takes in what `readMetadata` read; true when that changes what was known. */
export function learn(): bool {
  const isNamed = nameBytes !== 0 && nameBytes <= settings().nameBytesMax;
  if (!isNamed || !isUtf8(nameStart, nameBytes) || !isUtf8(unitStart, unitBytes)) {
    rejectOther(INVALID_METADATA, 1, NO_SERIES);
    return false;
  }
  const kind = kindOf(type, unitIndex(unitStart, unitBytes));
  // Prometheus says "unknown" of most of what it scrapes without a type; that unsays nothing.
  if (kind === 0) return false;
  const entry = find(nameStart, nameBytes);
  if (entry.hash !== 0) {
    const isNews = entry.kind !== kind;
    entry.kind = kind;
    return isNews;
  }
  const entries = settings().familyEntries;
  if (families === entries - (entries >> 2)) {
    results().familiesLeftOut++;
    return false;
  }
  entry.hash = hashOf(nameStart, nameBytes);
  entry.kind = kind;
  families++;
  return true;
}

/** Of the metric with this name; 0 when nothing is known. */
export function kindOfMetric(name: usize, bytes: u32): u32 {
  if (families === 0) return 0;
  const own = find(name, bytes).kind;
  if (own !== 0) return own;
  const end = bytes < 8 ? loadEnd(name, bytes) : load<u64>(name + bytes - 8);
  let kind = kindOfPart(name, bytes, end, CREATED, 8, COUNTER | HISTOGRAM | SUMMARY);
  if (kind === 0) kind = kindOfPart(name, bytes, end, BUCKET, 7, HISTOGRAM | GAUGE_HISTOGRAM);
  if (kind === 0) kind = kindOfPart(name, bytes, end, COUNT, 6, HISTOGRAM | SUMMARY);
  if (kind === 0) kind = kindOfPart(name, bytes, end, TOTAL, 6, COUNTER);
  if (kind === 0) kind = kindOfPart(name, bytes, end, SUM, 4, HISTOGRAM | SUMMARY);
  if (kind === 0) kind = kindOfPart(name, bytes, end, INFO_SUFFIX, 5, INFO);
  if (kind === 0) kind = kindOfPart(name, bytes, end, GAUGE_COUNT, 7, GAUGE_HISTOGRAM);
  if (kind === 0) kind = kindOfPart(name, bytes, end, GAUGE_SUM, 5, GAUGE_HISTOGRAM);
  return kind;
}

export function kindOf(type: u32, unit: u32): u32 {
  return (type > TYPE_MAX ? 0 : type) | (unit << TYPE_BITS);
}

/** Where the length and the text of a kind's unit are; 0 when it has none. */
export function unitAt(kind: u32): usize {
  const unit = kind >> TYPE_BITS;
  return unit === 0 ? 0 : unitsRegion + <usize>(unit - 1) * unitStride();
}

/** The index of a unit, from 1; 0 for none and for one that is left out. */
export function unitIndex(start: usize, bytes: u32): u32 {
  if (bytes === 0) return 0;
  const stride = unitStride();
  if (bytes <= settings().unitBytesMax) {
    for (let i: u32 = 0; i < units; i++) {
      const unit = unitsRegion + <usize>i * stride;
      if (load<u32>(unit) === bytes && memory.compare(unit + 4, start, bytes) === 0) return i + 1;
    }
    if (units < settings().unitsMax) {
      const unit = unitsRegion + <usize>units * stride;
      store<u32>(unit, bytes);
      memory.copy(unit + 4, start, bytes);
      return ++units;
    }
  }
  results().unitsLeftOut++;
  return 0;
}

/**
 * The length of a metric's name without the suffix that it has as a part of a classic histogram; of
 * any other all of it.
 */
export function histogramStem(name: usize, bytes: u32): u32 {
  const end = bytes < 8 ? loadEnd(name, bytes) : load<u64>(name + bytes - 8);
  let suffixBytes: u32 = 0;
  if ((end ^ BUCKET) >> 8 === 0) suffixBytes = 7;
  else if ((end ^ COUNT) >> 16 === 0) suffixBytes = 6;
  else if ((end ^ SUM) >> 32 === 0) suffixBytes = 4;
  return bytes > suffixBytes ? bytes - suffixBytes : bytes;
}

function kindOfPart(
  name: usize,
  bytes: u32,
  end: u64,
  suffix: u64,
  suffixBytes: u32,
  types: u32,
): u32 {
  if (bytes <= suffixBytes) return 0;
  if ((end ^ suffix) >> ((8 - suffixBytes) << 3) !== 0) return 0;
  const kind = find(name, bytes - suffixBytes).kind;
  return ((types >> (kind & TYPE_MAX)) & 1) !== 0 ? kind : 0;
}

/** The last bytes of a name shorter than 8, as if zeros stood before it. */
function loadEnd(name: usize, bytes: u32): u64 {
  return bytes === 0 ? 0 : load<u64>(name) << ((8 - bytes) << 3);
}

/** Its entry, or the free one where it would go. */
function find(name: usize, bytes: u32): FamilyEntry {
  const hash = hashOf(name, bytes);
  const mask = settings().familyEntries - 1;
  let index = <u32>hash & mask;
  while (true) {
    const entry = entryAt(index);
    if (entry.hash === 0 || entry.hash === hash) return entry;
    index = (index + 1) & mask;
  }
}

/** Never 0, which marks a free entry. */
function hashOf(name: usize, bytes: u32): u64 {
  const hash = finish(xxh64(name, bytes) + tenantHash);
  return hash === 0 ? 1 : hash;
}

function entryAt(index: u32): FamilyEntry {
  return changetype<FamilyEntry>(familiesRegion + <usize>index * offsetof<FamilyEntry>());
}
