// The shapes that the REST routes answer with, as far as the page shows them. Anomalies, incidents, feedback and windows
// and series are the server's own types; of what its routes answer freely, only what is shown is declared here.

import type {
  AnomalyRow,
  FeedbackRow,
  IncidentRow,
  MaintenanceRow,
} from '../../src/api/rest-schemas.js';
import type { KnownSeries } from '../../src/known-series.js';

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

/** Of the distance of an entity also what is behind it. */
export type Series = KnownSeries & { entity?: Entity };

export interface Entity {
  detector: string;
  labels: Record<string, string>;
  vector: string | null;
  features: { name: string; value: number | null; surprise: number | null }[];
  inheritedFrom?: string;
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
  /** That the settings name. */
  prometheus?: string;
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
