// The linear memory: the settings that the host writes before anything else, and the regions that
// follow from them. Nothing is allocated after `placeRegions` and the memory never grows. Pages
// that were never touched cost nothing, so a region is as large as its limit allows, once and for
// all.
//
//   static memory | body | decoded | symbols | pairs | series | samples | histograms | new series
//   | spans | seen names | names | name texts | partition sets | partitions | claims | tenant | label memo
//   | families | units | series cache | blocks

/** Fast copies and vector loads may pass the end of a region by this much. */
const SLACK_BYTES: usize = 128;
const REGION_ALIGNMENT: usize = 4096;

/** One bit of `present` in labels.ts and one hash per name: 31 of the settings, and ours. */
export const NAMES_MAX: u32 = 36;
/** Replicas of clusters that one request may bring; further ones are not told apart. */
export const CLAIMS_MAX: u32 = 64;
export const PARTITION_SETS_MAX: u32 = 32;

/** All u32, in this order; wasm-decoder.ts writes them as one array. */
@unmanaged
export class Settings {
  bodyBytesMax: u32;
  decodedBytesMax: u32;
  seriesMax: u32;
  samplesMax: u32;
  labelsMax: u32;
  nameBytesMax: u32;
  valueBytesMax: u32;
  tenantBytesMax: u32;
  cacheEntries: u32;
  partitions: u32;
  futureMs: u32;
  announceMs: u32;
  symbolsMax: u32;
  referencesMax: u32;
  labelBytesMax: u32;
  exemplarsMax: u32;
  metadataMax: u32;
  histogramBytesMax: u32;
  familyEntries: u32;
  unitsMax: u32;
  unitBytesMax: u32;
}

/**
 * One series of the request. Filled by the walk, settled by the series cache, read by the columns.
 */
@unmanaged
export class SeriesRecord {
  fingerprint: u64;
  /** Its TimeSeries message in the decoded region. */
  start: u32;
  end: u32;
  firstSample: u32;
  samples: u32;
  firstHistogram: u32;
  histograms: u32;
  /** Histograms that are rejected, for whatever reason. */
  badHistograms: u32;
  /** Samples too far in the future. */
  futures: u32;
  /** Samples that are not, and have a start timestamp. */
  starts: u32;
  exemplars: u32;
  badExemplars: u32;
  /** What its metadata say, in remote-write 2.0: the type, and where the symbol of the unit is. */
  type: u32;
  unitSymbol: u32;
  /** Type and unit that are announced: see families.ts. */
  kind: u32;
  partition: u32;
  /** 0, or why the whole series is rejected. */
  reason: u32;
  /** Index of its claim from 1, 0 without one: see claims.ts. */
  claim: u32;
  /** Its entry in the series cache, when it is not rejected. */
  entry: u32;
  /** Bytes of its SeriesInfo without tag and length; 0 when it is not announced. */
  announcementBytes: u32;
}

@unmanaged
export class Sample {
  timestamp: i64;
  valueBits: u64;
  /** 0 when there is none. */
  startTimestamp: i64;
}

/** A native histogram: where its message is, and what of it goes into the block beside it. */
@unmanaged
export class HistogramRecord {
  timestamp: i64;
  startTimestamp: i64;
  start: u32;
  bytes: u32;
  /** 0, or why it is rejected. */
  reason: u32;
  reserved: u32;
}

/** A string of a remote-write 2.0 request: see symbols.ts. */
@unmanaged
export class SymbolRecord {
  /** Of its hash: all of a label's hash that depends on the name, or on the value. */
  nameHalf: u64;
  valueHalf: u64;
  bytes: u32;
  traits: u32;
  start: u32;
  /** Index of it as a unit plus 1, once it was one. */
  unit: u16;
  /** As a name: 1 plus which bit is its own in this request; 0 until it is one. */
  ownBit: u16;
}

/**
 * A label that a symbol is the value of, so small that those of a request stay in the first-level
 * cache: see pairs.ts.
 */
@unmanaged
export class PairEntry {
  /** 0 when the label does not count. */
  labelHash: u64;
  /** The hot loop reads these four as one. Index of the name; NO_NAME for none. */
  name: u16;
  /** Which bit is the name's own. */
  bit: u8;
  traits: u8;
  /** What the label takes in a SeriesInfo, at most; and a 1 above that, so that sums count labels. */
  size: u32;
}

/** Replica of a cluster, as the series of a request name it: see claims.ts. */
@unmanaged
export class Claim {
  clusterHash: u64;
  replicaHash: u64;
  newestMs: i64;
  /** The first series with it. */
  series: u32;
  /** 1 when another replica is the elected one. */
  isOut: u32;
}

/** Where a label's name and value are; host and columns read lists of them. */
@unmanaged
export class LabelSpan {
  name: u32;
  nameBytes: u32;
  value: u32;
  valueBytes: u32;
}

/** A label seen in the current series, to find a second one of the same name. */
@unmanaged
export class SeenName {
  hash: u64;
  name: u32;
  nameBytes: u32;
}

/** A label name that the settings mention, and its hash in the current series. */
@unmanaged
export class NamedLabel {
  nameHash: u64;
  labelHash: u64;
  name: u32;
  nameBytes: u32;
  stripped: u32;
  reserved: u32;
}

/**
 * One partition of the request: counted first, then given its place, then written through the
 * cursors.
 */
@unmanaged
export class PartitionRecord {
  samples: u32;
  histograms: u32;
  /** Samples with a start timestamp. */
  starts: u32;
  start: u32;
  bytes: u32;
  /** Of all SeriesInfo fields, tags and lengths included; of all HistogramSample fields. */
  announcementBytes: u32;
  histogramBytes: u32;
  announcementCursor: u32;
  fingerprintCursor: u32;
  timestampCursor: u32;
  valueCursor: u32;
  startCursor: u32;
  histogramCursor: u32;
}

/** A known series: see series-cache.ts. */
@unmanaged
export class CacheEntry {
  fingerprint: u64;
  announcedSeconds: u32;
  state: u16;
  epoch: u16;
}

/** What the metadata of remote-write 1.0 said of a family of metrics: see families.ts. */
@unmanaged
export class FamilyEntry {
  hash: u64;
  kind: u32;
  reserved: u32;
}

/** A label seen before, with everything that was found out about it: see label-memo.ts. */
@unmanaged
export class MemoEntry {
  nameHash: u64;
  labelHash: u64;
  bytes: u32;
  nameStart: u16;
  nameBytes: u16;
  traits: u32;
  valueStart: u16;
  valueBytes: u16;
}

export const MEMO_LABEL_BYTES_MAX: u32 = 96;
export const MEMO_ENTRY_BYTES: u32 = offsetof<MemoEntry>() + MEMO_LABEL_BYTES_MAX;
/** A power of two; 4,096 labels of 128 bytes stay in a core's second-level cache. */
export const MEMO_ENTRIES: u32 = 4096;

/** Around the labels of one SeriesInfo: tag, length and fingerprint, rounded up. */
const ANNOUNCEMENT_OVERHEAD_BYTES: usize = 32;
/** Around the columns of one block: tags and lengths, rounded up. */
const BLOCK_OVERHEAD_BYTES: usize = 64;
/** Four columns of a sample, or what stands around the message of a histogram, rounded up. */
const COLUMNS_BYTES_PER_SAMPLE: usize = 40;

/** Two entries: few values have more than two names. */
export const PAIR_STRIDE: usize = 2 * offsetof<PairEntry>();

const settingsAt: usize = memory.data(offsetof<Settings>(), 8);

export let bodyRegion: usize = 0;
export let decodedRegion: usize = 0;
export let symbolsRegion: usize = 0;
export let pairsRegion: usize = 0;
export let seriesRegion: usize = 0;
export let samplesRegion: usize = 0;
export let histogramsRegion: usize = 0;
export let newSeriesRegion: usize = 0;
export let spansRegion: usize = 0;
export let seenRegion: usize = 0;
export let namesRegion: usize = 0;
export let nameTextRegion: usize = 0;
export let setsRegion: usize = 0;
export let partitionsRegion: usize = 0;
export let claimsRegion: usize = 0;
export let tenantRegion: usize = 0;
export let memoRegion: usize = 0;
export let familiesRegion: usize = 0;
export let unitsRegion: usize = 0;
export let cacheRegion: usize = 0;
export let blocksRegion: usize = 0;
let next: usize = 0;

export function settings(): Settings {
  return changetype<Settings>(settingsAt);
}

/**
 * Pure arithmetic: returns the bytes of memory that these settings need, and touches none of it.
 */
export function placeRegions(): usize {
  const s = settings();
  assert(s.partitions > 0 && s.labelsMax > 0);
  next = __heap_base;
  bodyRegion = place(s.bodyBytesMax);
  decodedRegion = place(s.decodedBytesMax);
  symbolsRegion = place(<usize>s.symbolsMax * offsetof<SymbolRecord>());
  pairsRegion = place(<usize>s.symbolsMax * PAIR_STRIDE);
  seriesRegion = place(<usize>s.seriesMax * offsetof<SeriesRecord>());
  samplesRegion = place(<usize>s.samplesMax * offsetof<Sample>());
  histogramsRegion = place(<usize>s.samplesMax * offsetof<HistogramRecord>());
  newSeriesRegion = place(<usize>s.seriesMax * sizeof<u32>());
  spansRegion = place(<usize>s.labelsMax * offsetof<LabelSpan>());
  seenRegion = place(<usize>s.labelsMax * offsetof<SeenName>());
  // One more than there are names, for whatever is none of them.
  namesRegion = place(<usize>(NAMES_MAX + 1) * offsetof<NamedLabel>());
  nameTextRegion = place(<usize>NAMES_MAX * s.nameBytesMax);
  setsRegion = place(<usize>PARTITION_SETS_MAX * sizeof<u32>());
  partitionsRegion = place(<usize>s.partitions * offsetof<PartitionRecord>());
  claimsRegion = place(<usize>CLAIMS_MAX * offsetof<Claim>());
  tenantRegion = place(s.tenantBytesMax);
  memoRegion = place(<usize>MEMO_ENTRIES * MEMO_ENTRY_BYTES);
  familiesRegion = place(<usize>s.familyEntries * offsetof<FamilyEntry>());
  unitsRegion = place(<usize>s.unitsMax * unitStride());
  cacheRegion = place(<usize>s.cacheEntries * offsetof<CacheEntry>());
  // Labels and histograms are never longer in a block than in the request, because we write the
  // shortest encoding; except that symbols may be referred to again and again, up to a limit.
  blocksRegion = place(
    <usize>s.decodedBytesMax +
      <usize>s.labelBytesMax +
      <usize>s.seriesMax * (ANNOUNCEMENT_OVERHEAD_BYTES + s.unitBytesMax) +
      <usize>s.samplesMax * COLUMNS_BYTES_PER_SAMPLE +
      <usize>s.partitions * (BLOCK_OVERHEAD_BYTES + s.tenantBytesMax),
  );
  return next;
}

/** A unit: its length in 4 bytes, then its text. */
export function unitStride(): usize {
  return 4 + settings().unitBytesMax;
}

export function seriesRecord(index: u32): SeriesRecord {
  return changetype<SeriesRecord>(seriesRegion + <usize>index * offsetof<SeriesRecord>());
}

export function sampleRecord(index: u32): Sample {
  return changetype<Sample>(samplesRegion + <usize>index * offsetof<Sample>());
}

export function histogramRecord(index: u32): HistogramRecord {
  return changetype<HistogramRecord>(histogramsRegion + <usize>index * offsetof<HistogramRecord>());
}

export function labelSpan(index: u32): LabelSpan {
  return changetype<LabelSpan>(spansRegion + <usize>index * offsetof<LabelSpan>());
}

function place(bytes: usize): usize {
  const start = (next + REGION_ALIGNMENT - 1) & ~(REGION_ALIGNMENT - 1);
  next = start + bytes + SLACK_BYTES;
  return start;
}
