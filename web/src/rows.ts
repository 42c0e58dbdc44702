// The shapes that the REST routes answer with, as far as the page shows them. Anomalies, incidents, feedback and windows
// are the schemas' own types; what the scorer says of a series is declared here, with what may be absent.

import type {
  AnomalyRow,
  FeedbackRow,
  IncidentRow,
  MaintenanceRow,
} from '../../src/api/rest-schemas.js';

/** What the deep check said in numbers, where there is one. */
export interface DeepCheck {
  model?: string | null;
  expected?: number | null;
  lower?: number | null;
  upper?: number | null;
  reason?: string | null;
}

export type Anomaly = AnomalyRow & { deepCheck?: DeepCheck | null };
export type Incident = IncidentRow;
export type Story = IncidentRow & { members: Anomaly[] };
export type Feedback = FeedbackRow;
export type FeedbackKind = FeedbackRow['kind'];
export type Maintenance = MaintenanceRow;

export interface AnomalyPage {
  anomalies: Anomaly[];
  cursor?: string;
}

export interface IncidentPage {
  incidents: Incident[];
  cursor?: string;
}

export interface SeriesPage {
  series: Series[];
  cursor?: string;
  unreachable?: { scorer: string; reason: string }[];
}

export interface Series {
  fingerprint: string;
  series: string;
  labels: Record<string, string>;
  type: string;
  partition: number;
  state: string;
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
  window?: WindowPoint[];
}

/** One of the newest values that the scorer still has; null where nothing arrived. */
export interface WindowPoint {
  timestamp: string;
  value: number | null;
  score?: number;
  expected?: number;
  lower?: number;
  upper?: number;
}

export interface Partition {
  partition: number;
  offset: number;
  high: number;
  lag: number;
  series: number;
  scored: number;
  streamTimeMs: number | null;
  checkpoint?: { offset: number; ageSeconds: number } | null;
  outcomes: Record<string, number>;
}

export interface Status {
  version?: string;
  tenant?: string;
  roles?: string[];
  memoryBytes?: number;
  uptimeSeconds?: number;
  samples?: { received: number; rejected: Record<string, number> };
  /** Only of `treeline demo`. */
  demo?: boolean;
  logId?: string;
  anomalies: number;
  incidents?: number;
  series?: number;
  scored?: number;
  alerts?: {
    mode: string;
    isShadow: boolean;
    budget: number;
    notifiedLastDay: number;
    notifiedLastWeek: number;
  };
  control?: { feedback: number; maintenance: number };
  partitions?: Partition[];
  unreachable?: { scorer: string; reason: string }[];
}
