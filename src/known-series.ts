// What is known of one series, as the routes about series answer it: the scorer that owns it makes it, an api may pass it
// on, the page shows it. Shapes only: all of them have to agree on it, and none may import another.

export interface KnownSeries {
  fingerprint: string;
  series: string;
  labels: Record<string, string>;
  type: string;
  partition: number;
  state: 'warming' | 'active' | 'stale' | 'unsuited' | 'unscored';
  /** Samples learnt, and how many are needed before flags; only while warming. */
  progress?: { samples: number; needed: number; readyAt: string | null };
  reason?: string;
  scoredAs?: 'value' | 'rate';
  lastTimestamp?: string;
  lastValue?: number | null;
  intervalSeconds?: number;
  score?: number;
  flag?: 0 | 1;
  expected?: number;
  lower?: number;
  upper?: number;
  /** Of the open anomaly, once the deep check has said something. */
  verdict?: 'confirmed' | 'suppressed' | 'abstained' | 'unchecked';
  /** The newest values in equal steps, oldest first; of one series, where they are kept. */
  window?: WindowPoint[];
}

export interface WindowPoint {
  timestamp: string;
  /** Null where nothing arrived. */
  value: number | null;
  /** Of the newest only: others are not kept. */
  score?: number;
  expected?: number;
  lower?: number;
  upper?: number;
}
