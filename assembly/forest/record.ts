// What the forest keeps of one series: a record of fixed size, at a fixed place, without pointers, so that a checkpoint
// is a copy of the bytes. A record of zeros is an unused slot. Every byte below is used; a change of layout or meaning
// is a new RECORD_FORMAT.
//
//        0        4        8        12       16
//      0 ┌─────────────────┬─────────────────┐ timestamp and bits of the last sample taken in (i64, u64):
//        │ last timestamp  │ last bits       │ the guard against duplicates, and a counter's previous value
//     16 ├─────────────────┼─────────────────┤ origin: the first value (f64); all f32 values are relative to it
//        │ origin          │ onset           │ timestamp at which the open anomaly began (i64)
//     32 ├─────────────────┼────────┬────────┤ timestamp of its last anomalous sample (i64)
//        │ last anomalous  │samples │interval│ samples scored (u32); log2 of the interval in seconds
//     48 ├────────┬────────┼────────┼────────┤ short mean; mean distance from it, slow; the same, fast and
//        │ centre │ spread │vol fast│vol slow│ slower still (volatility)
//     64 ├────────┴────────┴────────┴────────┤ moving averages, time constants 1.5 · 3^k samples, k = 0..6,
//        │ means 0..6, level           f32x8 │ and the level (4000)
//     96 ├───────────────────────────────────┤ typical size of each residual
//        │ scales 0..7                 f32x8 │
//    128 ├────────┬────────┬────────┬────────┤ the same of the mean seasonal residual; range of values seen;
//        │scale 8 │ low    │ high   │seas res│ mean seasonal residual
//    144 ├────────┼────────┼────────┼────────┤ calibration of novelty and of magnitude: highest of this block,
//        │ nov max│nov usu.│ mag max│mag usu.│ usual highest of a block
//    160 ├────────┼────────┼────────┼────────┤ sum of the values of this hour; highest recent rarity (fades);
//        │hour sum│ record │ score  │ peak   │ score of the last sample; highest score of the open anomaly
//    176 ├────────┼────────┼────────┼────────┤ prediction for the last value, half the width of its band;
//        │expected│ half   │previous│ step   │ last value; usual distance between neighbours
//    192 ├────────┼────┬───┼─┬─┬─┬─┬┴┬─┬─┬─┬─┤ longest run of equal values; u16 run, hour samples; u8 novelty
//        │longest │run │hrs│a│b│c│d│e│f│g│h│ │ block fill a, magnitude block fill b, blocks so far c, d, season
//    208 ├────────┴────┴───┼─┴─┴─┴─┴─┴─┴─┴─┴─┤ bin + 1 e, age of the record f, phase bits g, quiet bits h
//        │ last leaves     4 bits x 48 = 24 B│ of group k byte j: tree 16k + j low, tree 16k + j + 8 high
//    232 ├───────────────────────────────────┤
//        │ season visits   4 bits x 48 = 24 B│ bin 2j low, bin 2j + 1 high; stays at 15
//    256 ├───────────────────────────────────┤
//        │ season means            f32 x 48  │ hour of day on weekdays 0..23, at weekends 24..47
//    448 ├───────────────────────────────────┤ of group k, pair of leaves j, lane l the byte 128k + 16j + l:
//        │ leaf counters 4 bits [48][16]     │ tree 16k + l, leaf 2j low, leaf 2j + 1 high
//    832 └───────────────────────────────────┘
//
// Phase bits: 0-1 kind, 2-3 cause of the open anomaly, 4-6 calm samples in a row, 7 an anomaly is open.
// Quiet bits: 0-4 moves seen (stays at 20), 5 stale, 6 the next value takes the level, 7 this run has been reported.

export const RECORD_FORMAT: i32 = 1;
export const RECORD_BYTES: i32 = 832;

export const LAST_TIMESTAMP: usize = 0;
export const LAST_BITS: usize = 8;
export const ORIGIN: usize = 16;
export const ONSET: usize = 24;
export const LAST_ANOMALOUS: usize = 32;
export const SAMPLES: usize = 40;
export const INTERVAL: usize = 44;
export const CENTRE: usize = 48;
export const MEANS: usize = 64;
export const LEVEL: usize = 92;
export const SCALES: usize = 96;
export const LOW: usize = 132;
export const HIGH: usize = 136;
export const SEASONAL_RESIDUAL: usize = 140;
export const NOVELTY_MAX: usize = 144;
export const NOVELTY_USUAL: usize = 148;
export const MAGNITUDE_MAX: usize = 152;
export const MAGNITUDE_USUAL: usize = 156;
export const HOUR_SUM: usize = 160;
export const HIGHEST_RARITY: usize = 164;
export const SCORE: usize = 168;
export const PEAK: usize = 172;
export const EXPECTED: usize = 176;
export const HALF_WIDTH: usize = 180;
export const PREVIOUS: usize = 184;
export const STEP: usize = 188;
export const LONGEST_RUN: usize = 192;
export const RUN: usize = 196;
export const HOUR_SAMPLES: usize = 198;
export const NOVELTY_FILL: usize = 200;
export const MAGNITUDE_FILL: usize = 201;
export const NOVELTY_BLOCKS: usize = 202;
export const MAGNITUDE_BLOCKS: usize = 203;
export const SEASON_BIN: usize = 204;
export const RARITY_AGE: usize = 205;
export const PHASE_BITS: usize = 206;
export const QUIET_BITS: usize = 207;
export const LEAVES: usize = 208;
export const SEASON_VISITS: usize = 232;
export const SEASON_MEANS: usize = 256;
export const COUNTERS: usize = 448;
export const COUNTERS_BYTES: i32 = 384;

export const KIND_MASK: u32 = 3;
export const KIND_GAUGE: u32 = 1;
export const KIND_COUNTER: u32 = 2;
export const KIND_GUESSED_COUNTER: u32 = 3;
export const CAUSE_SHIFT: u32 = 2;
export const CALM_SHIFT: u32 = 4;
export const IS_OPEN: u32 = 128;
export const MOVES_MASK: u32 = 31;
export const IS_STALE: u32 = 32;
export const IS_BACK: u32 = 64;
export const IS_REPORTED: u32 = 128;

/** Before the first sample. So the smallest i64 is no timestamp: such a sample counts as a conflict. */
export const NO_TIMESTAMP: i64 = i64.MIN_VALUE;
/** A calibrator that has seen nothing expects large magnitudes: a young series is not loud. */
const MAGNITUDE_AT_BIRTH: f32 = 3.0;

/** Forgets everything but the guard. A slot that was never used (all zeros) gets an empty guard. */
export function startRecord(record: usize, kind: u32): void {
  const isUsed = (load<u8>(record, PHASE_BITS) & KIND_MASK) != 0;
  const timestamp = isUsed ? load<i64>(record, LAST_TIMESTAMP) : NO_TIMESTAMP;
  const bits = isUsed ? load<u64>(record, LAST_BITS) : 0;
  memory.fill(record, 0, RECORD_BYTES);
  store<i64>(record, timestamp, LAST_TIMESTAMP);
  store<u64>(record, bits, LAST_BITS);
  store<f32>(record, MAGNITUDE_AT_BIRTH, MAGNITUDE_USUAL);
  store<u8>(record, <u8>kind, PHASE_BITS);
}
