// What the alerts that somebody wrote and the anomalies that Treeline found have to do with each other: which firings had
// an anomaly on the same entity before them, with what lead, and which incidents no alert spoke of. Pure: reading is
// report-sources.ts, printing report-text.ts. Because a busy fleet has an anomaly somewhere at any time, the same is
// counted for firings moved to other times of the range: what is covered then is covered by chance.
//
//   ──────────[ window ]│firing     an anomaly that is open at some time in the window, and began before the firing
//        ├───lead───────┤           covers it; a longer lead than the window counts as the window

/** Labels that name an entity, from the narrowest on. */
export const ENTITY_LABELS = ['pod', 'instance', 'service', 'job', 'namespace'] as const;
/** The firings are moved by each of 1/8 to 7/8 of the range. */
const CHANCE_SHIFTS = 8;

export interface Firing {
  alert: string;
  labels: Readonly<Record<string, string>>;
  startMs: number;
  endMs: number;
}

export interface Episode {
  id: string;
  series: string;
  labels: Readonly<Record<string, string>>;
  onsetMs: number;
  /** Absent while it is open. */
  endMs?: number;
  score: number;
  incident?: string;
}

export interface Range {
  startMs: number;
  endMs: number;
  windowMs: number;
}

export interface Coverage {
  firings: number;
  /** Had an anomaly before. */
  before: number;
  /** Had one only after the alert had begun. */
  after: number;
  /** Had none. */
  none: number;
  /** Share of the firings that would have one before them at other times. Null without firings. */
  byChance: number | null;
  leadSeconds: { median: number; p10: number; p90: number } | null;
}

export interface Comparison {
  all: Coverage;
  alerts: ({ alert: string } & Omit<Coverage, 'byChance'>)[];
  /** Firings without any label of an entity; they are compared with nothing and counted nowhere else. */
  withoutEntity: number;
  /** Incidents of which an alert spoke: before, during or shortly after. */
  incidentsAlerted: Set<string>;
}

/**
 * Of the labels that name an entity all that both have are equal. A namespace alone says too little, unless it is all that
 * the alert has.
 */
export function isSameEntity(
  alert: Readonly<Record<string, string>>,
  series: Readonly<Record<string, string>>,
): boolean {
  let [shared, narrow, wanted] = [0, 0, 0];
  for (const name of ENTITY_LABELS) {
    if (!alert[name]) continue;
    if (name !== 'namespace') wanted++;
    if (!series[name]) continue;
    if (alert[name] !== series[name]) return false;
    shared++;
    if (name !== 'namespace') narrow++;
  }
  return shared > 0 && (narrow > 0 || wanted === 0);
}

export function compare(
  firings: readonly Firing[],
  episodes: readonly Episode[],
  range: Range,
): Comparison {
  const ofEntity = episodesByEntity(episodes);
  const named = firings.filter(({ labels }) => ENTITY_LABELS.some((name) => labels[name]));
  const incidentsAlerted = new Set<string>();
  const byAlert = new Map<string, Judged[]>();
  const judged = named.map((firing) => {
    const near = ofEntity(firing.labels);
    for (const { incident, onsetMs, endMs = Number.POSITIVE_INFINITY } of near) {
      if (incident === undefined || onsetMs > firing.endMs) continue;
      if (endMs >= firing.startMs - range.windowMs) incidentsAlerted.add(incident);
    }
    const one = judge(firing, near, range.windowMs);
    const others = byAlert.get(firing.alert);
    if (others === undefined) byAlert.set(firing.alert, [one]);
    else others.push(one);
    return one;
  });
  const alerts = [...byAlert].map(([alert, ones]) => ({ alert, ...coverageOf(ones) }));
  alerts.sort((a, b) => b.firings - a.firings || (a.alert < b.alert ? -1 : 1));
  const byChance = chanceOf(named, ofEntity, range);
  return {
    all: { ...coverageOf(judged), byChance },
    alerts,
    withoutEntity: firings.length - named.length,
    incidentsAlerted,
  };
}

interface Judged {
  verdict: 'before' | 'after' | 'none';
  leadMs: number;
}

type EpisodesOf = (labels: Firing['labels']) => readonly Episode[];

function judge(firing: Firing, near: readonly Episode[], windowMs: number): Judged {
  const { startMs, endMs } = firing;
  let [leadMs, isAfter] = [-1, false];
  for (const episode of near) {
    if (episode.onsetMs > startMs) {
      isAfter ||= episode.onsetMs <= endMs;
    } else if ((episode.endMs ?? Number.POSITIVE_INFINITY) >= startMs - windowMs) {
      leadMs = Math.max(leadMs, Math.min(windowMs, startMs - episode.onsetMs));
    }
  }
  if (leadMs >= 0) return { verdict: 'before', leadMs };
  return { verdict: isAfter ? 'after' : 'none', leadMs: 0 };
}

function coverageOf(judged: readonly Judged[]): Omit<Coverage, 'byChance'> {
  const count = (verdict: Judged['verdict']) =>
    judged.filter((one) => one.verdict === verdict).length;
  const leads = judged
    .filter(({ verdict }) => verdict === 'before')
    .map(({ leadMs }) => leadMs / 1000)
    .sort((a, b) => a - b);
  const at = (share: number) => leads[Math.round(share * (leads.length - 1))] ?? 0;
  return {
    firings: judged.length,
    before: count('before'),
    after: count('after'),
    none: count('none'),
    leadSeconds: leads.length === 0 ? null : { median: at(0.5), p10: at(0.1), p90: at(0.9) },
  };
}

function chanceOf(firings: readonly Firing[], ofEntity: EpisodesOf, range: Range): number | null {
  const spanMs = range.endMs - range.startMs;
  if (firings.length === 0) return null;
  let covered = 0;
  for (let shift = 1; shift < CHANCE_SHIFTS; shift++) {
    for (const firing of firings) {
      const offset = firing.startMs - range.startMs + (spanMs * shift) / CHANCE_SHIFTS;
      const startMs = range.startMs + (offset % spanMs);
      const moved = { ...firing, startMs, endMs: startMs };
      if (judge(moved, ofEntity(firing.labels), range.windowMs).verdict === 'before') covered++;
    }
  }
  return covered / (firings.length * (CHANCE_SHIFTS - 1));
}

/** Many firings and anomalies share few entities: each pair of entities is compared once. */
function episodesByEntity(episodes: readonly Episode[]): EpisodesOf {
  const keyOf = (labels: Firing['labels']) =>
    JSON.stringify(ENTITY_LABELS.map((name) => labels[name] ?? ''));
  const groups = new Map<string, Episode[]>();
  for (const episode of episodes) {
    const key = keyOf(episode.labels);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [episode]);
    else group.push(episode);
  }
  const found = new Map<string, Episode[]>();
  return (labels) => {
    const key = keyOf(labels);
    let near = found.get(key);
    if (near === undefined) {
      near = [...groups.values()]
        .filter(([first]) => first !== undefined && isSameEntity(labels, first.labels))
        .flat();
      found.set(key, near);
    }
    return near;
  };
}
