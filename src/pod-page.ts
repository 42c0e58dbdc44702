// The pods that a scorer knows, as the answers about them are made of: every pod of one detector with its latest vector.
// Who gathers them is a role, who answers stands beside it; both know this shape and not each other.

export interface PodRow {
  pod: string;
  namespace: string;
  cpu: number | null;
  memory: number | null;
  /** As received: a count, not a rate. */
  restarts: number | null;
  isFlagged: boolean;
  /** 1 is the threshold; higher is worse. */
  score: number;
  ageSeconds: number;
  /** What each feature has to do with the distance, by name, together 1; all 0 while there is none. */
  shares: Record<string, number>;
}

export interface PodPage {
  rows: PodRow[];
  /** Pods that can be flagged, of those that are told. */
  warm: number;
  /** Of the pod that has learnt most: vectors, how many are needed, and when it has them. */
  progress: { vectors: number; needed: number; readyAt: string | null } | undefined;
}
