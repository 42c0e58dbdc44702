// Samples and native histograms of one series, in both versions of remote-write: records in memory,
// counts in the series' record. The two versions differ in one thing only: whether a sample and a
// histogram have a field for a start timestamp, and whether the series has one for those without.

import { FIELD_OVERRUN, fail, SAMPLES_ABOVE_LIMIT } from './failure';
import { histogramStart, histogramTimestamp, walkHistogram } from './histogram';
import { histogramRecord, Sample, SeriesRecord, sampleRecord, settings } from './layout';
import { TOO_FAR_IN_FUTURE } from './reasons';
import { results } from './results';
import { readTag, readVarint, skipField, varint } from './wire';

const SAMPLE_VALUE: u32 = 0x09;
const SAMPLE_TIMESTAMP: u32 = 0x10;
const SAMPLE_START: u32 = 0x18;
const USUAL_HEADS: u32 = SAMPLE_VALUE | (SAMPLE_TIMESTAMP << 8);

export function beginPoints(record: SeriesRecord): void {
  const r = results();
  record.firstSample = r.samples;
  record.samples = 0;
  record.firstHistogram = r.histograms;
  record.histograms = 0;
  record.badHistograms = 0;
  record.futures = 0;
  record.starts = 0;
}

/** One Sample message. Returns its end, or 0 after `fail`. */
export function addSample(record: SeriesRecord, start: usize, end: usize, hasStart: bool): usize {
  const r = results();
  if (r.received === settings().samplesMax) return fail(SAMPLES_ABOVE_LIMIT, start);
  const at = readSample(sampleRecord(r.samples), start, end, hasStart);
  r.samples++;
  r.received++;
  record.samples++;
  return at;
}

/** One Histogram message. Returns its end, or 0 after `fail`. */
export function addHistogram(
  record: SeriesRecord,
  start: usize,
  end: usize,
  hasStart: bool,
): usize {
  const r = results();
  if (r.received === settings().samplesMax) return fail(SAMPLES_ABOVE_LIMIT, start);
  const histogram = histogramRecord(r.histograms);
  if (walkHistogram(histogram, start, end) === 0) return 0;
  histogram.timestamp = histogramTimestamp;
  histogram.startTimestamp = hasStart ? histogramStart : 0;
  histogram.start = <u32>start;
  histogram.bytes = <u32>(end - start);
  r.histograms++;
  r.received++;
  record.histograms++;
  return end;
}

/** Once the series is walked: `created` is for all that have no start timestamp of their own. */
export function endPoints(record: SeriesRecord, created: i64, futureAfter: i64): void {
  for (let i: u32 = 0; i < record.samples; i++) {
    const sample = sampleRecord(record.firstSample + i);
    if (sample.startTimestamp === 0) sample.startTimestamp = created;
    if (sample.timestamp > futureAfter) record.futures++;
    else if (sample.startTimestamp !== 0) record.starts++;
  }
  for (let i: u32 = 0; i < record.histograms; i++) {
    const histogram = histogramRecord(record.firstHistogram + i);
    if (histogram.startTimestamp === 0) histogram.startTimestamp = created;
    if (histogram.reason === 0 && histogram.timestamp > futureAfter) {
      histogram.reason = TOO_FAR_IN_FUTURE;
    }
    if (histogram.reason !== 0) record.badHistograms++;
  }
}

function readSample(sample: Sample, start: usize, end: usize, hasStart: bool): usize {
  let at = start;
  let timestamp: u64 = 0;
  let valueBits: u64 = 0;
  let startTimestamp: u64 = 0;
  // Nearly every sample is its value and then its timestamp: both tags at once.
  const heads = load<u8>(at) | ((<u32>load<u8>(at + 9)) << 8);
  if (heads === USUAL_HEADS && end - at >= 11) {
    valueBits = load<u64>(at + 1);
    at = readVarint(at + 10, end);
    if (at === 0) return 0;
    timestamp = varint;
    if (hasStart && at < end && load<u8>(at) === SAMPLE_START) {
      at = readVarint(at + 1, end);
      if (at === 0) return 0;
      startTimestamp = varint;
    }
  }
  while (at < end) {
    const read = readTag(at, end);
    if (read === 0) return 0;
    at = <usize>(read >> 32);
    const tag = <u32>read;
    if (tag === SAMPLE_VALUE) {
      if (end - at < 8) return fail(FIELD_OVERRUN, at);
      valueBits = load<u64>(at);
      at += 8;
    } else if (tag === SAMPLE_TIMESTAMP) {
      at = readVarint(at, end);
      if (at === 0) return 0;
      timestamp = varint;
    } else if (tag === SAMPLE_START && hasStart) {
      at = readVarint(at, end);
      if (at === 0) return 0;
      startTimestamp = varint;
    } else {
      at = skipField(at, end, tag, 3);
      if (at === 0) return 0;
    }
  }
  sample.timestamp = <i64>timestamp;
  sample.valueBits = valueBits;
  sample.startTimestamp = <i64>startTimestamp;
  return at;
}
