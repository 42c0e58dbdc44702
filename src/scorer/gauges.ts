// The anomaly gauges of the series this process scores, in Prometheus text format, written by hand: there may be
// 100,000 of them, and a metrics library would hold the event loop for seconds. The label text of a series is rendered
// once, when it is first shown; a scrape reads five numbers a series and streams the lines in slices. Which series are
// shown: all, those whose flag is up or was lately, or (`top-k`, gauge-seats.ts) the so many highest, chosen once a minute.

import { GAUGE_ROWS_PER_TURN, GAUGE_SEATING_MS, GAUGE_SERIES_MAX } from '../limits.js';
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
import { type Claim, Seats, STANDING } from './gauge-seats.js';
import { isAscii, labelText } from './gauge-text.js';
import { LineWriter } from './line-writer.js';
import type { Partition } from './partition.js';
import type { PhaseChange } from './phase-change.js';
import { type Group, RateGroups } from './rate-groups.js';
import { NO_SLOT } from './slots.js';
import { EVERY_FLAG_UP, type FlagView } from './verdict-overlay.js';

export interface GaugeSettings {
  scores: 'flagged' | 'all' | 'top-k';
  /** How many series those of `top-k` are. */
  topK?: number;
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
  /** The same for the same series, also when it was not shown in between. */
  key: string;
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
  /** Both texts. */
  isAscii: boolean;
  /** Wall clock; infinite while the anomaly is open. */
  untilMs: number;
}

interface Part {
  partition: Partition;
  shown: Map<number, Shown>;
  groups: Map<number, Group>;
}

const pickGroup = labelPicker(['__name__', 'detector', 'namespace', 'job']);
const NOTHING = new Uint8Array(0);

export class Gauges {
  readonly #settings: GaugeSettings;
  readonly #profile: GaugeProfile;
  readonly #clock: () => number;
  readonly #flags: FlagView;
  readonly #parts = new Map<number, Part>();
  readonly #groups = new RateGroups();
  readonly #seatMax: number;
  #shownCount = 0;
  #seatedMs = Number.NEGATIVE_INFINITY;
  /** Of `top-k`: seated while their flag was down, the lowest last. A flag that goes up takes the seat of the last one. */
  #calm: Claim[] = [];
  /** How long a series is shown after its anomaly closed; for those that close from now on. */
  lingerMs: number;

  constructor(settings: GaugeSettings, clock: () => number, flags: FlagView = EVERY_FLAG_UP) {
    this.#settings = settings;
    this.#flags = flags;
    this.#profile = PROFILES[settings.profile ?? 'default'];
    this.lingerMs = settings.lingerMs;
    this.#clock = clock;
    const wanted = settings.scores === 'top-k' ? (settings.topK ?? 0) : GAUGE_SERIES_MAX;
    this.#seatMax = Math.min(wanted, GAUGE_SERIES_MAX);
  }

  /** Series that have gauges. */
  get shownCount(): number {
    return this.#shownCount;
  }

  /** Series that would have gauges if there were not too many: of `all` scored ones, else those whose flag is up. */
  get hidden(): number {
    let count = 0;
    for (const [index, { partition, shown, groups }] of this.#parts) {
      if (this.#settings.scores === 'all') {
        count += groups.size - shown.size;
        continue;
      }
      for (const entry of partition.flagged) {
        if (!shown.has(entry) && this.#flags.isUp(index, entry)) count++;
      }
    }
    return count;
  }

  /** A partition left: nothing of it is shown any more, and the memory of its forest is let go. */
  drop(index: number): void {
    const { partition, shown, groups } = this.#part(index);
    this.#shownCount -= shown.size;
    for (const [entry, group] of groups) {
      if (partition.flagged.has(entry)) group.flagged--;
      this.#groups.leave(group);
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
    const group = this.#groups.join({ detector, tenant, namespace, job });
    groups.set(entry, group);
    if (this.#settings.scores === 'all') this.#show(index, entry, partition.labels(entry));
  }

  onRemoved(index: number, entry: number): void {
    const { shown, groups } = this.#part(index);
    if (shown.delete(entry)) this.#shownCount--;
    const group = groups.get(entry);
    if (group === undefined) return;
    groups.delete(entry);
    this.#groups.leave(group);
  }

  onPhase(index: number, { entry, phase }: PhaseChange): void {
    const part = this.#part(index);
    if (phase === 'onset') this.#raise(index, entry);
    if (phase !== 'end') return;
    const group = part.groups.get(entry);
    if (group !== undefined) group.flagged--;
    const shown = part.shown.get(entry);
    if (shown !== undefined && this.#settings.scores !== 'all') {
      shown.untilMs = this.#clock() + this.lingerMs;
    }
  }

  /** Lines of the exposition format in slices of bounded size; an empty one only gives others their turn. */
  *lines(scrape: Scrape): Generator<Uint8Array> {
    for (const _ of this.#seat()) yield NOTHING;
    this.#forget();
    const { gauges } = this.#profile;
    const rows: Shown[] = [];
    const columns = gauges.map((): number[] => []);
    let looked = 0;
    for (const [index, { partition, shown }] of this.#parts) {
      for (const [entry, one] of shown) {
        if (++looked % GAUGE_ROWS_PER_TURN === 0) yield NOTHING;
        if (this.#parts.get(index)?.shown !== shown) break; // it left meanwhile
        if (one.tenant !== scrape.tenant || !scrape.matches(one.labels)) continue;
        const measures = this.#measuresOf(index, partition, entry);
        rows.push(one);
        for (const [i, { measure }] of gauges.entries()) columns[i]?.push(measures[measure]);
      }
    }
    const writer = new LineWriter();
    for (const [i, { name, help }] of gauges.entries()) {
      const column = columns[i] as number[];
      writer.text(`# HELP ${name} ${help}\n# TYPE ${name} gauge\n`);
      for (let row = 0; row < rows.length; row++) {
        const value = column[row] as number;
        if (Number.isNaN(value)) continue;
        const { text, utf8Text, isAscii } = rows[row] as Shown;
        writer.sample(name, scrape.isUtf8 ? utf8Text : text, isAscii, value);
        if (writer.isFull) yield writer.take();
      }
    }
    for (const line of this.#groups.lines(scrape.tenant, this.#down())) {
      writer.text(`${line}\n`);
      if (writer.isFull) yield writer.take();
    }
    yield writer.take();
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

  /** Chooses anew who is shown, when it is time to; a scrape does it by itself. */
  async seat(): Promise<void> {
    for (const _ of this.#seat()) await new Promise((turn) => setImmediate(turn));
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
        yield { key: one.utf8Text, labels: this.#profile.labelsOf(one.labels), values, isOurs };
      }
    }
  }

  #measuresOf(index: number, partition: Partition, entry: number): Record<Measure, number> {
    const { forest, slots } = partition;
    const view = forest.view(slots.slotOf(entry));
    const { score, lastValue: value, expected, lower, upper } = view;
    const isUp = view.flag && this.#flags.isUp(index, entry);
    return { score, flag: isUp ? 1 : 0, value, expected, lower, upper };
  }

  #raise(index: number, entry: number): void {
    const part = this.#part(index);
    const group = part.groups.get(entry);
    if (group !== undefined) group.flagged++;
    const shown = part.shown.get(entry);
    if (shown !== undefined) shown.untilMs = Number.POSITIVE_INFINITY;
    else this.#show(index, entry, part.partition.labels(entry));
  }

  #show(index: number, entry: number, labels: Label[]): Shown | undefined {
    if (this.#shownCount >= this.#seatMax) this.#makeRoom();
    if (this.#shownCount >= this.#seatMax) return undefined;
    const gaugeLabels = this.#profile.labelsOf(labels);
    this.#shownCount++;
    const { partition, shown } = this.#part(index);
    const one = {
      tenant: partition.tenant(entry),
      labels,
      ...textsOf(gaugeLabels),
      untilMs: Number.POSITIVE_INFINITY,
    };
    shown.set(entry, one);
    return one;
  }

  #makeRoom(): void {
    this.#forget();
    for (let lowest = this.#calm.pop(); lowest !== undefined; lowest = this.#calm.pop()) {
      const shown = this.#parts.get(lowest.partition)?.shown;
      // Since it was seated it may have gone, or its flag may have gone up.
      if (shown?.get(lowest.entry)?.untilMs === Number.POSITIVE_INFINITY) continue;
      if (!shown?.delete(lowest.entry)) continue;
      this.#shownCount--;
      return;
    }
  }

  /** Those whose time is over; seats of `top-k` are kept until others claim them. */
  #forget(): void {
    if (this.#settings.scores === 'top-k') return;
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

  /** Chooses anew who has the seats of `top-k`. Others have their turn whenever it yields. */
  *#seat(): Generator<undefined> {
    const now = this.#clock();
    const isTopK = this.#settings.scores === 'top-k';
    // Also when the clock was set back.
    if (!isTopK || Math.abs(now - this.#seatedMs) < GAUGE_SEATING_MS) return;
    this.#seatedMs = now;
    const seats = new Seats(this.#seatMax);
    let looked = 0;
    for (const [index, part] of this.#parts) {
      for (const entry of part.groups.keys()) {
        if (++looked % GAUGE_ROWS_PER_TURN === 0) yield;
        const claim = this.#claimOf(index, entry, now);
        if (claim !== undefined) seats.offer(claim);
      }
    }
    this.#give(seats.taken(), now);
  }

  /** Undefined of what may have left meanwhile, and of what does not stand out at all. */
  #claimOf(index: number, entry: number, now: number): Claim | undefined {
    const part = this.#parts.get(index);
    if (part === undefined || !part.groups.has(entry)) return undefined;
    const { slots, forest } = part.partition;
    const { score, flag, stage } = forest.view(slots.slotOf(entry));
    const isUp = flag && this.#flags.isUp(index, entry);
    const isSeated = (part.shown.get(entry)?.untilMs ?? Number.NEGATIVE_INFINITY) > now;
    if (!isUp && !isSeated && !(score > 0 && stage === 'active')) return undefined;
    return {
      standing: isUp ? STANDING.flagged : isSeated ? STANDING.seated : STANDING.other,
      score: Number.isNaN(score) ? 0 : score,
      high: slots.highOf(entry),
      low: slots.lowOf(entry),
      partition: index,
      entry,
    };
  }

  #give(chosen: readonly Claim[], now: number): void {
    const kept = new Map<number, Set<number>>();
    for (const { partition, entry } of chosen) {
      const entries = kept.get(partition) ?? new Set();
      kept.set(partition, entries.add(entry));
    }
    for (const [index, { shown }] of this.#parts) {
      for (const entry of shown.keys()) {
        if (kept.get(index)?.has(entry)) continue;
        shown.delete(entry);
        this.#shownCount--;
      }
    }
    this.#calm = [];
    for (const claim of chosen) {
      const part = this.#parts.get(claim.partition);
      if (part === undefined || !part.groups.has(claim.entry)) continue;
      const { partition, shown } = part;
      const isNew = !shown.has(claim.entry);
      const one =
        shown.get(claim.entry) ??
        this.#show(claim.partition, claim.entry, partition.labels(claim.entry));
      if (one === undefined || partition.flagged.has(claim.entry)) continue;
      if (isNew || one.untilMs <= now) one.untilMs = now + this.lingerMs;
      this.#calm.push(claim);
    }
    this.#seatFlags();
  }

  /** Flags that went up while the others were asked. */
  #seatFlags(): void {
    for (const [index, { partition, shown }] of this.#parts) {
      for (const entry of partition.flagged) {
        if (shown.has(entry) || !this.#flags.isUp(index, entry)) continue;
        if (this.#show(index, entry, partition.labels(entry)) === undefined) return;
      }
    }
  }

  #part(index: number): Part {
    const part = this.#parts.get(index);
    if (part === undefined) throw new RangeError(`Partition ${index} is not ours`);
    return part;
  }
}

function textsOf(labels: readonly Label[]): Pick<Shown, 'text' | 'utf8Text' | 'isAscii'> {
  const text = labelText(labels, false);
  const utf8Text = labelText(labels, true);
  // Nearly always one and the same: kept once.
  const isSame = text === utf8Text;
  return { text, utf8Text: isSame ? text : utf8Text, isAscii: isAscii(text) && isAscii(utf8Text) };
}
