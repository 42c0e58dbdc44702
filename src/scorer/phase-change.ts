// What a partition tells whoever listens: changes of what is shown of a series, series that begin, series that end. Nothing
// that a listener does changes the state.

/** A phase of an anomaly that the last applied record led to. */
export interface PhaseChange {
  entry: number;
  phase: 'onset' | 'peak' | 'end';
  cause: 'none' | 'novelty' | 'magnitude' | 'quiet';
  timestampMs: number;
  onsetMs: number;
  value: number;
  score: number;
  expected: number;
  lower: number;
  upper: number;
}

export interface PartitionHooks {
  onPhase(change: PhaseChange): void;
  onOpened(entry: number): void;
  onRemoved(entry: number): void;
}
