// The functions of forest.wasm as JavaScript sees them; assembly/forest/index.ts says what each does. Numbers stand for booleans
// and for places in the lists of wasm-forest.ts.

export interface ForestExports extends WebAssembly.Exports {
  plant(seed: number, seriesMax: number): void;
  useZone(count: number): void;
  open(slot: number, kind: number): void;
  clear(slot: number): void;
  endAnomaly(slot: number): number;
  observe(count: number): number;
  describe(slot: number): void;
  writeRule(
    index: number,
    minDeviation: number,
    minRelative: number,
    over: number,
    sides: number,
    needed: number,
    among: number,
    isIgnored: number,
  ): void;
  assignRule(slot: number, index: number): void;
  ruleOf(slot: number): number;
  lifeOf(slot: number): number;
  differs(slot: number): number;
  dismiss(
    slot: number,
    above: number,
    below: number,
    bandsAbove: number,
    bandsBelow: number,
    isQuietFalse: number,
  ): void;
  suitability(slot: number): number;
  markUnsuited(slot: number, why: number): void;
  shift(slot: number): number;
  acceptShift(slot: number, shift: number): void;
  undoShift(slot: number, shift: number): void;
  resume(slot: number): number;
}

/** DESCRIPTION of the module, in its order. */
export type Description = [
  kind: number,
  isStale: number,
  samples: number,
  warmSamples: number,
  lastTimestampMs: number,
  lastValue: number,
  octaves: number,
  score: number,
  onsetMs: number,
  peakScore: number,
  expected: number,
  lower: number,
  upper: number,
  cause: number,
  unsuited: number,
];
