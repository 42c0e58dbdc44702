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
//        │ centre │ spread │vol fast│vol slow│ from it over a day, 20 and 4000 samples
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
//    256 ├───────────────────────────────────┤ hour of the day on weekdays 0..23, weekends 24..47,
//        │ season means             i16 x 48 │ in steps from their middle, see season.ts
//    352 ├───────────────────────────────────┤ usual highest size in this hour of the day,
//        │ hour sizes                u8 x 24 │
//    376 ├───────────────────────────────────┤ and in these two minutes of an hour; i, j: the highest
//        │ phase sizes, i, j         u8 x 32 │ so far in this hour and in these two minutes
//    408 ├────────┬────────┬────────┬────────┤ season: middle of the means; zeros: how often they
//        │ middle │ begins │ stays  │  fast  │ begin, and stay; drift: two means of the seasonal
//    424 ├────────┼────────┼────┬───┴┬────┬──┤ distance, their usual distance; usual lowest size of a
//        │  slow  │ spread │low │high│run │zl│ block, highest of drift; this run of zeros, zeros left (u16)
//    440 ├────┬─┬─┼─┬─┬─┬─┬┴────┴────┴────┴──┘
//        │fill│k│l│m│n│o│p│ samples in the block of magnitude (u16); six bytes, see below
//    448 ├────┴─┴─┴─┴─┴─┴─┴──────────────────┐ group k, leaf pair j, lane l at 128k + 16j + l:
//        │ leaf counters   4 bits [48][16]   │ tree 16k + l, leaf 2j low, leaf 2j + 1 high
//    832 └───────────────────────────────────┘
//
// a: samples in the block of novelty. b: habit bits. c, d: blocks so far of novelty and magnitude,
// at most 255. e: season bin + 1. f: samples since the highest rarity. g: phase bits. h: quiet bits.
// k: exponent of the step between means of the season. l: highest drift of this block. m: two minutes
// of the hour + 1, and in the upper three bits log2 of the longest run of zeros, at most 7. n, o: mean
// of the hour sizes and of the phase sizes. p: highest size of an alarm on the first day, or 0.
// Sizes in one byte are sixteenths of an octave, in two 1/2048.
// Phase bits: 0-1 kind, 2-3 cause of the open anomaly, 4-6 calm samples in a row, 7 an anomaly is
// open. Quiet bits: 0-4 moves seen (stays at 20), 5 stale, 6 the next value takes the level, 7 this
// run has been reported. Habit bits: 0-1 samples of a job in a row (stays at 3), 2 this block left a
// habit out, 3 this run of zeros and 4 this drift has been reported, 5 the season is known.

export const RECORD_FORMAT: i32 = 2;
export const RECORD_BYTES: i32 = 832;

export const LAST_TIMESTAMP: usize = 0;
export const LAST_BITS: usize = 8;
export const ORIGIN: usize = 16;
export const ONSET: usize = 24;
export const LAST_ANOMALOUS: usize = 32;
export const SAMPLES: usize = 40;
export const INTERVAL: usize = 44;
export const CENTRE: usize = 48;
export const SPREAD: usize = 52;
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
export const HABIT_BITS: usize = 201;
export const NOVELTY_BLOCKS: usize = 202;
export const MAGNITUDE_BLOCKS: usize = 203;
export const SEASON_BIN: usize = 204;
export const RARITY_AGE: usize = 205;
export const PHASE_BITS: usize = 206;
export const QUIET_BITS: usize = 207;
export const LEAVES: usize = 208;
export const SEASON_VISITS: usize = 232;
export const SEASON_MEANS: usize = 256;
export const HOUR_SIZES: usize = 352;
export const PHASE_SIZES: usize = 376;
export const HOUR_MAX: usize = 406;
export const PHASE_MAX: usize = 407;
export const SEASON_MIDDLE: usize = 408;
export const ZERO_BEGINS: usize = 412;
export const ZERO_STAYS: usize = 416;
export const DRIFT_FAST: usize = 420;
export const DRIFT_SLOW: usize = 424;
export const DRIFT_SPREAD: usize = 428;
export const MAGNITUDE_LOW: usize = 432;
export const DRIFT_USUAL: usize = 434;
export const ZERO_RUN: usize = 436;
export const ZERO_LEFT: usize = 438;
export const MAGNITUDE_FILL: usize = 440;
export const SEASON_STEP: usize = 442;
export const DRIFT_MAX: usize = 443;
export const PHASE_CLOCK: usize = 444;
export const HOUR_USUAL: usize = 445;
export const PHASE_USUAL: usize = 446;
export const YOUNG_MAX: usize = 447;
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
export const HELD_MASK: u32 = 3;
export const LEFT_OUT: u32 = 4;
export const ZERO_REPORTED: u32 = 8;
export const DRIFT_REPORTED: u32 = 16;
export const SEASON_KNOWN: u32 = 32;
export const PHASE_MASK: u32 = 31;
export const ZERO_OCTAVE_SHIFT: u32 = 5;

/**
 * Before the first sample. So the smallest i64 is no timestamp: such a sample counts as a
 * conflict.
 */
export const NO_TIMESTAMP: i64 = i64.MIN_VALUE;
/** A calibrator that has seen nothing expects large magnitudes: a young series is not loud. */
const MAGNITUDE_AT_BIRTH: f32 = 3.0;
/** A first zero is as likely followed by another as not, before anything is known. */
const ZERO_STAYS_AT_BIRTH: f32 = 0.5;
/** Sizes of 16 bits are in parts of an octave, so many of them. */
export const SIZE_PARTS: f32 = 2048.0;
/** The mean of an hour that has not been visited. */
export const NO_MEAN: i32 = -0x8000;

/** Forgets everything but the guard. A slot that was never used (all zeros) gets an empty guard. */
export function startRecord(record: usize, kind: u32): void {
  const isUsed = (load<u8>(record, PHASE_BITS) & KIND_MASK) !== 0;
  const timestamp = isUsed ? load<i64>(record, LAST_TIMESTAMP) : NO_TIMESTAMP;
  const bits = isUsed ? load<u64>(record, LAST_BITS) : 0;
  memory.fill(record, 0, RECORD_BYTES);
  store<i64>(record, timestamp, LAST_TIMESTAMP);
  store<u64>(record, bits, LAST_BITS);
  store<f32>(record, MAGNITUDE_AT_BIRTH, MAGNITUDE_USUAL);
  store<f32>(record, ZERO_STAYS_AT_BIRTH, ZERO_STAYS);
  for (let bin = 0; bin < 48; bin++) store<i16>(record + (bin << 1), <i16>NO_MEAN, SEASON_MEANS);
  store<u8>(record, <u8>kind, PHASE_BITS);
}
