// The trees that all series share, and three small tables. A tree is oblivious: one (feature, cut)
// per level, so 16 trees descend in the lanes of one vector. The trees are balanced: features are
// dealt from a shuffled deck, so that each is used equally often and never twice in a tree, and the
// cuts of a feature are spread over its range, one per equal slice. Made once from the seed; after
// that nothing here is random and nothing changes.
//
//   TREES: of group k of 16 trees, level l: 16 features at 128k + 32l, 16 cuts at 128k + 32l + 16
//   DAY: of each of the 1,440 minutes of a day, its sine and cosine as two u8 features

import { DAY, TREES } from './memory-map';
import { beginRandom, nextFraction } from './random';

export const TREES_COUNT: i32 = 48;
export const DEPTH: i32 = 4;
export const FEATURES_COUNT: i32 = 13;

const MINUTES: i32 = 1440;

/** What each value of a 4-bit counter stands for; the steps between them are powers of two. */
const VALUES: usize = memory.data<u8>([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]);
/**
 * log2 of the step to the next value: a counter steps with probability 2^-this, and never beyond
 * the last.
 */
export const STEPS: usize = memory.data<u8>([0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 99], 16);
/** floor(65535 / (1 + value)): the novelty of a leaf, high bytes and low bytes apart. */
export const NOVELTY_HIGH: usize = memory.data(16, 16);
export const NOVELTY_LOW: usize = memory.data(16, 16);

/**
 * Cuts lie within this part of the range of a feature: beyond it a leaf would stay empty or take
 * all.
 */
const CUT_LOW: f64 = 0.115;
const CUT_HIGH: f64 = 0.885;

const DECK_MAX: i32 = 64;
const DECK: usize = memory.data(64, 16);
const CHOSEN: usize = memory.data(4, 16);
const PLACES: usize = memory.data(48 * 4, 16);
const ORDER: usize = memory.data(48 * 4, 16);

let deckSize: i32 = 0;

/** Writes 0..count-1 in random order at `at`. */
function shuffle(at: usize, count: i32): void {
  for (let i = 0; i < count; i++) store<u8>(at + i, <u8>i);
  for (let i = count - 1; i > 0; i--) {
    const k = <i32>(nextFraction() * <f64>(i + 1));
    const kept = load<u8>(at + i);
    store<u8>(at + i, load<u8>(at + k));
    store<u8>(at + k, kept);
  }
}

function featureAt(tree: i32, level: i32): usize {
  return TREES + ((tree >> 4) << 7) + (level << 5) + (tree & 15);
}

/**
 * Takes the first card of the deck that is not yet in this tree; a new deck is put below when none
 * is left.
 */
function deal(tree: i32, dealt: i32): u8 {
  for (let k = 0; ; k++) {
    if (k >= deckSize) {
      assert(deckSize + FEATURES_COUNT <= DECK_MAX);
      shuffle(DECK + deckSize, FEATURES_COUNT);
      deckSize += FEATURES_COUNT;
    }
    const feature = load<u8>(DECK + k);
    let isUsed = false;
    for (let l = 0; l < dealt; l++) if (load<u8>(featureAt(tree, l)) === feature) isUsed = true;
    if (isUsed) continue;
    deckSize--;
    memory.copy(DECK + k, DECK + k + 1, deckSize - k);
    return feature;
  }
}

function dealFeatures(): void {
  deckSize = 0;
  for (let tree = 0; tree < TREES_COUNT; tree++) {
    for (let l = 0; l < DEPTH; l++) store<u8>(featureAt(tree, l), deal(tree, l));
    for (let l = 0; l < DEPTH; l++) store<u8>(CHOSEN + l, load<u8>(featureAt(tree, l)));
    shuffle(ORDER, DEPTH);
    for (let l = 0; l < DEPTH; l++) {
      store<u8>(featureAt(tree, l), load<u8>(CHOSEN + load<u8>(ORDER + l)));
    }
  }
}

function spreadCuts(feature: i32): void {
  let count = 0;
  for (let at = 0; at < TREES_COUNT * DEPTH; at++) {
    if (load<u8>(featureAt(at >> 2, at & 3)) === <u8>feature) store<u8>(PLACES + count++, <u8>at);
  }
  shuffle(ORDER, count);
  for (let i = 0; i < count; i++) {
    const at = <i32>load<u8>(PLACES + i);
    const part = (<f64>load<u8>(ORDER + i) + nextFraction()) / <f64>count;
    const cut = ceil((CUT_LOW + (CUT_HIGH - CUT_LOW) * part) * 254.5);
    store<u8>(featureAt(at >> 2, at & 3) + 16, <u8>(<i32>cut));
  }
}

/**
 * The half wave 4 x (180 - x) / (40500 - x (180 - x)) of Bhaskara I, x in degrees: off by at most
 * 0.0017.
 */
function sineOfDay(minute: i32): f64 {
  const turn = <f64>(minute % 720) / 720.0;
  const product = turn * (1.0 - turn);
  const height = (16.0 * product) / (5.0 - 4.0 * product);
  return minute < 720 ? height : -height;
}

function drawDay(): void {
  for (let minute = 0; minute < MINUTES; minute++) {
    const sine = (0.5 + 0.5 * sineOfDay(minute)) * 254.5;
    const cosine = (0.5 + 0.5 * sineOfDay((minute + 360) % MINUTES)) * 254.5;
    store<u8>(DAY + 2 * minute, <u8>(<i32>sine));
    store<u8>(DAY + 2 * minute + 1, <u8>(<i32>cosine));
  }
}

/** Makes every table. The only place where the seed is used. */
export function plantTrees(seed: u32): void {
  beginRandom(seed);
  dealFeatures();
  for (let feature = 0; feature < FEATURES_COUNT; feature++) spreadCuts(feature);
  drawDay();
  for (let c = 0; c < 16; c++) {
    const novelty = 65535 / (1 + <u32>load<u8>(VALUES + c));
    store<u8>(NOVELTY_HIGH + c, <u8>(novelty >> 8));
    store<u8>(NOVELTY_LOW + c, <u8>novelty);
  }
}
