// The anomaly gauges of the series this process scores, in Prometheus text format, written by hand: there may be
// 100,000 of them, and a metrics library would hold the event loop for seconds. The label text of a series is rendered
// once, when its flag first goes up; a scrape reads five numbers a series and streams the lines in slices.

import { GAUGE_SERIES_MAX, RATE_GROUPS_MAX } from '../limits.js';
import type { Label } from '../series.js';
import { labelPicker } from './announcement.js';
import { ENTITY_METRIC } from './detectors.js';
import {
  DETECTOR,
  type GaugeProfile,
  type Measure,
  PROFILES,
  type ProfileName,
} from './gauge-profile.js';
import type { Partition } from './partition.js';
import type { PhaseChange } from './phase-change.js';
import { NO_SLOT } from './slots.js';
import { EVERY_FLAG_UP, type FlagView } from './verdict-overlay.js';

export interface GaugeSettings {
  scores: 'flagged' | 'all';
  lingerMs: number;
  /** Ours unless it says otherwise. */
  profile?: ProfileName;
}

export interface Scrape {
  /** The scraper said `escaping=allow-utf-8`. */
  isUtf8: boolean;
  matches: (labels: readonly Label[]) => boolean;
  /** Whose series are shown. */
  tenant: string;
}

/** What outputs send instead of being scraped. */
export interface ShownSeries {
  /** The same as long as it is shown. */
  key: object;
  /** Of the series, without the gauge's own name. */
  labels: readonly Label[];
  values: readonly (readonly [gauge: string, value: number])[];
  /** False once the partition has left: another process shows it then. */
  isOurs(): boolean;
}

interface Shown {
  tenant: string;
  labels: Label[];
  text: string;
  utf8Text: string;
  /** Wall clock; infinite while the anomaly is open. */
  untilMs: number;
}

interface Group {
  detector: string;
  tenant: string;
  namespace: string;
  job: string;
  series: number;
  flagged: number;
}

type GroupNames = Pick<Group, 'detector' | 'tenant' | 'namespace' | 'job'>;

interface Part {
  partition: Partition;
  shown: Map<number, Shown>;
  groups: Map<number, Group>;
}

const OVERFLOW_JOB = 'over-the-limit-of-groups';
const pickGroup = labelPicker(['__name__', 'detector', 'namespace', 'job']);
const SLICE_CHARACTERS = 32 * 1024;

export class Gauges {
  readonly #settings: GaugeSettings;
  readonly #profile: GaugeProfile;
  readonly #clock: () => number;
  readonly #flags: FlagView;
  readonly #parts = new Map<number, Part>();
  readonly #groups = new Map<string, Group>();
  #shownCount = 0;
  /** Series left out because there are too many. */
  hidden = 0;
  /** How long a series is shown after its anomaly closed; for those that close from now on. */
  lingerMs: number;

  constructor(settings: GaugeSettings, clock: () => number, flags: FlagView = EVERY_FLAG_UP) {
    this.#settings = settings;
    this.#flags = flags;
    this.#profile = PROFILES[settings.profile ?? 'default'];
    this.lingerMs = settings.lingerMs;
    this.#clock = clock;
  }

  /** A partition left: nothing of it is shown any more, and the memory of its forest is let go. */
  drop(index: number): void {
    const { partition, shown, groups } = this.#part(index);
    this.#shownCount -= shown.size;
    for (const [entry, group] of groups) {
      if (partition.flagged.has(entry)) group.flagged--;
      this.#leave(group);
    }
    this.#parts.delete(index);
  }

  /** A partition was restored: everything known about its series is taken from it. */
  adopt(index: number, partition: Partition): void {
    this.#parts.set(index, { partition, shown: new Map(), groups: new Map() });
    for (let entry = 0; entry < partition.slots.entryEnd; entry++) {
      if (partition.slots.isUsed(entry)) this.onOpened(index, entry);
    }
    for (const entry of partition.flagged) this.#raise(index, entry);
  }

  onOpened(index: number, entry: number): void {
    const { partition, groups } = this.#part(index);
    if (partition.slots.slotOf(entry) === NO_SLOT) return;
    const { values, tenant } = pickGroup(partition.slots.announcement(entry));
    const [metric, said, namespace, job] = values as [string, string, string, string];
    const detector = metric === ENTITY_METRIC ? said : DETECTOR;
    const group = this.#groupOf({ detector, tenant, namespace, job });
    group.series++;
    groups.set(entry, group);
    if (this.#settings.scores === 'all') this.#show(index, entry, partition.labels(entry));
  }

  onRemoved(index: number, entry: number): void {
    const { shown, groups } = this.#part(index);
    if (shown.delete(entry)) this.#shownCount--;
    const group = groups.get(entry);
    if (group === undefined) return;
    groups.delete(entry);
    this.#leave(group);
  }

  #leave(group: Group): void {
    group.series--;
    if (group.series === 0) this.#groups.delete(groupKey(group));
  }

  onPhase(index: number, { entry, phase }: PhaseChange): void {
    const part = this.#part(index);
    if (phase === 'onset') this.#raise(index, entry);
    if (phase !== 'end') return;
    const group = part.groups.get(entry);
    if (group !== undefined) group.flagged--;
    const shown = part.shown.get(entry);
    if (shown !== undefined && this.#settings.scores === 'flagged') {
      shown.untilMs = this.#clock() + this.lingerMs;
    }
  }

  /** Lines of the exposition format in slices of bounded size. */
  *lines(scrape: Scrape): Generator<string> {
    this.#forget();
    const rows: { shown: Shown; values: Record<Measure, number> }[] = [];
    for (const [index, { partition, shown }] of this.#parts) {
      for (const [entry, one] of shown) {
        if (one.tenant !== scrape.tenant || !scrape.matches(one.labels)) continue;
        rows.push({ shown: one, values: this.#measuresOf(index, partition, entry) });
      }
    }
    let slice = '';
    for (const { name, help, measure } of this.#profile.gauges) {
      slice += `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`;
      for (const { shown, values } of rows) {
        const value = values[measure];
        if (Number.isNaN(value)) continue;
        slice += `${name}${scrape.isUtf8 ? shown.utf8Text : shown.text} ${number(value)}\n`;
        if (slice.length > SLICE_CHARACTERS) {
          yield slice;
          slice = '';
        }
      }
    }
    slice += '# HELP anomaly_rate Share of the scored series of a group whose flag is up\n';
    slice += '# TYPE anomaly_rate gauge\n';
    const down = this.#down();
    for (const group of this.#groups.values()) {
      const { detector, tenant, namespace, job, series } = group;
      if (tenant !== scrape.tenant) continue;
      const flagged = group.flagged - (down.get(group) ?? 0);
      const labels = [
        { name: 'detector', value: detector },
        { name: 'namespace', value: namespace },
        { name: 'job', value: job },
      ];
      slice += `anomaly_rate${render(labels, false)} ${number(flagged / series)}\n`;
      if (slice.length > SLICE_CHARACTERS) {
        yield slice;
        slice = '';
      }
    }
    yield slice;
  }

  /** Open anomalies of each group whose flag is down. */
  #down(): Map<Group, number> {
    const counts = new Map<Group, number>();
    for (const [index, { groups }] of this.#parts) {
      for (const entry of this.#flags.down(index)) {
        const group = groups.get(entry);
        if (group !== undefined) counts.set(group, (counts.get(group) ?? 0) + 1);
      }
    }
    return counts;
  }

  /** Everything that is shown to a tenant now. The caller may wait between two of them. */
  *shownTo(tenant: string): Generator<ShownSeries> {
    this.#forget();
    for (const [index, part] of this.#parts) {
      const isOurs = () => this.#parts.get(index) === part;
      for (const [entry, one] of part.shown) {
        if (one.tenant !== tenant || !isOurs()) continue;
        const measures = this.#measuresOf(index, part.partition, entry);
        const values = this.#profile.gauges.map(
          ({ name, measure }) => [name, measures[measure]] as const,
        );
        yield { key: one, labels: this.#profile.labelsOf(one.labels), values, isOurs };
      }
    }
  }

  #measuresOf(index: number, partition: Partition, entry: number): Record<Measure, number> {
    const { forest, slots } = partition;
    const view = forest.view(slots.slotOf(entry));
    const isUp = view.flag && this.#flags.isUp(index, entry);
    return { ...view, flag: isUp ? 1 : 0, value: view.lastValue };
  }

  #raise(index: number, entry: number): void {
    const part = this.#part(index);
    const group = part.groups.get(entry);
    if (group !== undefined) group.flagged++;
    const shown = part.shown.get(entry);
    if (shown !== undefined) shown.untilMs = Number.POSITIVE_INFINITY;
    else this.#show(index, entry, part.partition.labels(entry));
  }

  #show(index: number, entry: number, labels: Label[]): void {
    if (this.#shownCount >= GAUGE_SERIES_MAX) this.#forget();
    if (this.#shownCount >= GAUGE_SERIES_MAX) {
      this.hidden++;
      return;
    }
    const gaugeLabels = this.#profile.labelsOf(labels);
    this.#shownCount++;
    const { partition, shown } = this.#part(index);
    shown.set(entry, {
      tenant: partition.tenant(entry),
      labels,
      text: render(gaugeLabels, false),
      utf8Text: render(gaugeLabels, true),
      untilMs: Number.POSITIVE_INFINITY,
    });
  }

  #forget(): void {
    const now = this.#clock();
    for (const { shown } of this.#parts.values()) {
      for (const [entry, { untilMs }] of shown) {
        if (untilMs < now) {
          shown.delete(entry);
          this.#shownCount--;
        }
      }
    }
  }

  #groupOf(names: GroupNames): Group {
    const key = groupKey(names);
    let group = this.#groups.get(key);
    if (group === undefined) {
      // Beyond the limit everything of a tenant falls into one group, which says so.
      const isFull = this.#groups.size >= RATE_GROUPS_MAX && names.job !== OVERFLOW_JOB;
      if (isFull) return this.#groupOf({ ...names, namespace: '', job: OVERFLOW_JOB });
      group = { ...names, series: 0, flagged: 0 };
      this.#groups.set(key, group);
    }
    return group;
  }

  #part(index: number): Part {
    const part = this.#parts.get(index);
    if (part === undefined) throw new RangeError(`Partition ${index} is not ours`);
    return part;
  }
}

/** `{a="1",b="2"}`; names outside the classic alphabet quoted, or escaped so that no two become one. */
export function render(labels: readonly Label[], isUtf8: boolean): string {
  const pairs = labels
    .filter(({ value }) => value !== '')
    .map(({ name, value }) => {
      const shown = isUtf8 && !isClassic(name) ? `"${escapeValue(name)}"` : escapeName(name);
      return `${shown}="${escapeValue(value)}"`;
    });
  return `{${pairs.join(',')}}`;
}

function isClassic(name: string): boolean {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);
}

/**
 * The "values" scheme of Prometheus' escaping (https://prometheus.io/docs/instrumenting/escaping_schemes/): `U__`, `_`
 * doubled, every other character outside the alphabet as `_hex_`. A classic name that looks escaped is escaped too.
 */
export function escapeName(name: string): string {
  if (isClassic(name) && !name.startsWith('U__')) return name;
  let escaped = 'U__';
  for (const character of name) {
    if (character === '_') escaped += '__';
    else if (/[a-zA-Z0-9]/.test(character)) escaped += character;
    else escaped += `_${character.codePointAt(0)?.toString(16)}_`;
  }
  return escaped;
}

function escapeValue(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}

function groupKey({ detector, tenant, namespace, job }: GroupNames): string {
  return JSON.stringify([detector, tenant, namespace, job]);
}
