// What the forest keeps of one series: a record of fixed size, at a fixed place, without pointers,
// so that a checkpoint is a copy of the bytes. A record of zeros is an unused slot. Every byte
// below is used; a change of layout or meaning is a new RECORD_FORMAT.
//
//        0        4        8        12       16
//      0 ┌─────────────────┬─────────────────┐ the last sample taken in (i64, u64): guard against
//        │ last timestamp  │ last bits       │ duplicates, and a counter's previous value
//     16 ├─────────────────┼─────────────────┤ the first value (f64), from which every f32 value is
//        │ origin          │ onset           │ counted; when the open anomaly began (i64)
//     32 ├─────────────────┼────────┬────────┤ its last anomalous sample (i64); samples scored (u32);
//        │ last anomalous  │samples │interval│ log2 of the usual seconds between samples
//     48 ├────────┬────────┼────────┼────────┤ short mean, which is the prediction; mean distance
//        │ centre │ spread │vol fast│vol slow│ from it over 1440, 20 and 4000 samples
//     64 ├────────┴────────┴────────┴────────┤ moving means over 1.5 · 3^k samples, k = 0..6, and
//        │ means 0..6, level           f32x8 │ over 4000
//     96 ├───────────────────────────────────┤ typical size of each residual
//        │ scales 0..7                 f32x8 │
//    128 ├────────┬────────┬────────┬────────┤ that of the mean seasonal residual; the range seen;
//        │scale 8 │ low    │ high   │seas res│ the mean seasonal residual
//    144 ├────────┼────────┼────────┼────────┤ novelty and magnitude: highest of this block, usual
//        │ nov max│nov usu.│ mag max│mag usu.│ highest of a block
//    160 ├────────┼────────┼────────┼────────┤ sum of this hour; fading highest rarity; score of the
//        │hour sum│highest │ score  │ peak   │ last value; highest score of the open anomaly
//    176 ├────────┼────────┼────────┼────────┤ of the last value: prediction, half the width of the
//        │expected│ half   │previous│ step   │ band, the value; usual distance of neighbours
//    192 ├────────┼────┬────┼─┬─┬─┬─┬┴┬─┬─┬─┬┤ longest run of equal values, this run (u16); samples
//        │longest │run │hour│a│b│c│d│e│f│g│h││ of this hour (u16); eight bytes, see below
//    208 ├────────┴────┴────┼─┴─┴─┴─┴─┴─┴─┴─┴┤ group k, byte j: tree 16k + j low, 16k + j + 8 high
//        │ last leaves     4 bits x 48 = 24 B│
//    232 ├───────────────────────────────────┤ byte j: bin 2j low, bin 2j + 1 high; stays at 15
//        │ season visits   4 bits x 48 = 24 B│
//    256 ├───────────────────────────────────┤ hour of the day on weekdays 0..23, weekends 24..47
//        │ season means            f32 x 48  │
//    448 ├───────────────────────────────────┤ group k, leaf pair j, lane l at 128k + 16j + l:
//        │ leaf counters   4 bits [48][16]   │ tree 16k + l, leaf 2j low, leaf 2j + 1 high
//    832 └───────────────────────────────────┘
//
// a, b: samples in the block of novelty and of magnitude. c, d: blocks so far, at most 255.
// e: season bin + 1. f: samples since the highest rarity. g: phase bits. h: quiet bits.
// Phase bits: 0-1 kind, 2-3 cause of the open anomaly, 4-6 calm samples in a row, 7 an anomaly is
// open. Quiet bits: 0-4 moves seen (stays at 20), 5 stale, 6 the next value takes the level, 7 this
// run has been reported.

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

/**
 * Before the first sample. So the smallest i64 is no timestamp: such a sample counts as a
 * conflict.
 */
export const NO_TIMESTAMP: i64 = i64.MIN_VALUE;
/** A calibrator that has seen nothing expects large magnitudes: a young series is not loud. */
const MAGNITUDE_AT_BIRTH: f32 = 3.0;

/** Forgets everything but the guard. A slot that was never used (all zeros) gets an empty guard. */
export function startRecord(record: usize, kind: u32): void {
  const isUsed = (load<u8>(record, PHASE_BITS) & KIND_MASK) !== 0;
  const timestamp = isUsed ? load<i64>(record, LAST_TIMESTAMP) : NO_TIMESTAMP;
  const bits = isUsed ? load<u64>(record, LAST_BITS) : 0;
  memory.fill(record, 0, RECORD_BYTES);
  store<i64>(record, timestamp, LAST_TIMESTAMP);
  store<u64>(record, bits, LAST_BITS);
  store<f32>(record, MAGNITUDE_AT_BIRTH, MAGNITUDE_USUAL);
  store<u8>(record, <u8>kind, PHASE_BITS);
}
