// Two calibrated sub-scores of one sample, joined by maximum to its rarity: novelty (a rare leaf,
// or a value beyond the range) and magnitude (a large residual). Each is compared with the usual
// highest value of its own past blocks, so that 15 is about equally rare on every series. Also the
// fading record that makes one alarm of one cause.

import { log2 } from './logarithm';
import {
  HIGHEST_RARITY,
  MAGNITUDE_BLOCKS,
  MAGNITUDE_FILL,
  MAGNITUDE_MAX,
  MAGNITUDE_USUAL,
  NOVELTY_BLOCKS,
  NOVELTY_FILL,
  NOVELTY_MAX,
  NOVELTY_USUAL,
  RARITY_AGE,
} from './record';

const MIDDLE: f32 = 10.0;

const NOVELTY_WEIGHT: f32 = 3.0;
const NOVELTY_USUAL_WEIGHT: f32 = 0.4;
const NOVELTY_BLOCK: u32 = 80;
const NOVELTY_RATE_MIN: f32 = 0.1;
const BEYOND_WEIGHT: f32 = 3.0;
const DEAD_ZONE: f32 = 4.0;
const DEAD_ZONE_PER_OCTAVE: f32 = 1.5;
const OCTAVES_MAX: f32 = 5.0;
const RARITY_PER_OCTAVE: f32 = 0.5;

export const MAGNITUDE_USUAL_WEIGHT: f32 = 1.2;
export const MAGNITUDE_OFFSET: f32 = 0.5;
const MAGNITUDE_GAIN: f32 = 160.0;
const MAGNITUDE_CAP: f32 = 20.0;
const MAGNITUDE_BLOCK: u32 = 200;
const MAGNITUDE_RATE_MIN: f32 = 0.02;
/** Until then the spread is a guess, and the sizes measured by it would deafen a young series. */
const CALIBRATE_FROM: u32 = 30;
/**
 * Steps up and down in proportion 7 : 3 settle at the expectile 0.7 of the blocks' highest values.
 */
const STEP_UP: f32 = 1.4;
const STEP_DOWN: f32 = 0.6;

const RECORD_MARGIN: f32 = 0.8;
const RECORD_FADE: f32 = 0.03;
const RECORD_SAMPLES_MAX: u32 = 120;
const BLOCKS_MAX: u32 = 255;

/**
 * Rarity by leaf and range. `novelty`: what the trees answer, at least 1; `beyond`: log2(1 + 30
 * ex) of the distance ex outside the range; `fine`: octaves below an interval of 5 minutes. A
 * finer series has more samples a day, so that an alarm must be rarer per sample, and a new
 * extreme by a hair's breadth is no news.
 */
export function noveltyRarity(record: usize, novelty: f32, beyond: f32, fine: f32): f32 {
  const leafRarity: f32 = NOVELTY_WEIGHT * log2(novelty);
  const usual = load<f32>(record, NOVELTY_USUAL);
  const blocks: u32 = load<u8>(record, NOVELTY_BLOCKS);
  const excess: f32 = blocks > 0 ? leafRarity - NOVELTY_USUAL_WEIGHT * usual : 0.0;
  const rangeRarity: f32 = BEYOND_WEIGHT * beyond;
  const octaves: f32 = max<f32>(0.0, min(OCTAVES_MAX, fine));
  const dead: f32 = DEAD_ZONE + DEAD_ZONE_PER_OCTAVE * octaves;
  learnNovelty(record, leafRarity, usual, blocks);
  const news: f32 = rangeRarity < dead ? 0.0 : rangeRarity;
  return MIDDLE + excess + news - RARITY_PER_OCTAVE * fine;
}

function learnNovelty(record: usize, leafRarity: f32, usual: f32, blocks: u32): void {
  let highest: f32 = max(load<f32>(record, NOVELTY_MAX), leafRarity);
  let fill = <u32>load<u8>(record, NOVELTY_FILL) + 1;
  if (fill >= NOVELTY_BLOCK) {
    const rate: f32 = max(NOVELTY_RATE_MIN, <f32>1.0 / <f32>(blocks + 1));
    store<f32>(record, usual + rate * (highest - usual), NOVELTY_USUAL);
    store<u8>(record, <u8>min(blocks + 1, BLOCKS_MAX), NOVELTY_BLOCKS);
    highest = 0.0;
    fill = 0;
  }
  store<f32>(record, highest, NOVELTY_MAX);
  store<u8>(record, <u8>fill, NOVELTY_FILL);
}

/**
 * Rarity by size. `size`: log2(1 + z) of the residual z in units of its own spread. `n`: samples
 * scored before this one.
 */
export function magnitudeRarity(record: usize, size: f32, n: u32): f32 {
  const usual = load<f32>(record, MAGNITUDE_USUAL);
  const excess: f32 = size - MAGNITUDE_USUAL_WEIGHT * usual - MAGNITUDE_OFFSET;
  learnMagnitude(record, n < CALIBRATE_FROM ? <f32>0.0 : size, usual);
  return MIDDLE + min(MAGNITUDE_CAP, MAGNITUDE_GAIN * excess);
}

function learnMagnitude(record: usize, size: f32, usual: f32): void {
  let highest: f32 = max(load<f32>(record, MAGNITUDE_MAX), size);
  let fill = <u32>load<u8>(record, MAGNITUDE_FILL) + 1;
  if (fill >= MAGNITUDE_BLOCK) {
    const blocks: u32 = load<u8>(record, MAGNITUDE_BLOCKS);
    const off: f32 = highest - usual;
    const rate: f32 = max(MAGNITUDE_RATE_MIN, <f32>1.0 / <f32>(blocks + 1));
    const step: f32 = blocks === 0 ? off : rate * off * (off > 0 ? STEP_UP : STEP_DOWN);
    store<f32>(record, usual + step, MAGNITUDE_USUAL);
    store<u8>(record, <u8>min(blocks + 1, BLOCKS_MAX), MAGNITUDE_BLOCKS);
    highest = 0.0;
    fill = 0;
  }
  store<f32>(record, highest, MAGNITUDE_MAX);
  store<u8>(record, <u8>fill, MAGNITUDE_FILL);
}

/**
 * True when the rarity beats the fading record by a margin: the one sample that speaks for its
 * cause.
 */
export function isNewRecord(record: usize, rarity: f32): bool {
  const highest = load<f32>(record, HIGHEST_RARITY);
  if (rarity > highest + (highest > 0 ? RECORD_MARGIN : <f32>0.0)) {
    store<f32>(record, rarity, HIGHEST_RARITY);
    store<u8>(record, 0, RARITY_AGE);
    return true;
  }
  const age = <u32>load<u8>(record, RARITY_AGE) + 1;
  const isOver = age >= RECORD_SAMPLES_MAX || highest < RECORD_FADE;
  store<f32>(record, isOver ? <f32>0.0 : highest - RECORD_FADE, HIGHEST_RARITY);
  store<u8>(record, <u8>min(age, RECORD_SAMPLES_MAX), RARITY_AGE);
  return false;
}
