// What the scorer tells of itself as metrics: read from the partitions it owns when they are scraped, so that a
// partition that leaves takes its lines along.

import { WINDOW_BYTES_PER_SERIES } from '../limits.js';
import type { Metrics, Reading } from '../metrics.js';
import { soon } from '../soon.js';
import { OUTCOMES } from './partition.js';
import type { Owned } from './saver.js';
import type { VerdictOverlay } from './verdict-overlay.js';

export interface ScorerView {
  owned(): Iterable<Owned>;
  lag(partition: number): Promise<number | undefined>;
  standstills(): { partition: number; offset: number }[];
  clock: () => number;
  seriesMax: number;
  /** Series with gauges, and those without because there are too many. */
  gauges: { readonly shownCount: number; readonly hidden: number };
}

export function observeScorer(metrics: Metrics, view: ScorerView): void {
  observePartitions(metrics, view);
  observeSeries(metrics, view);
}

/** Only where a deep check is configured. */
export function observeOverlay(metrics: Metrics, overlay: VerdictOverlay): void {
  metrics.observe(
    'counter',
    {
      name: 'treeline_verdicts_read_total',
      help: 'Verdicts that a scorer took in for its flags, by what they say; after a restart they are read again',
      labels: ['outcome'],
    },
    () =>
      Object.entries(overlay.counts).map(([outcome, value]) => ({ labels: { outcome }, value })),
  );
  metrics.observe(
    'gauge',
    {
      name: 'treeline_flags_down',
      help: 'Open anomalies whose flag is down: waiting for a verdict, or suppressed by one',
      labels: ['reason'],
    },
    () =>
      Object.entries(overlay.downCounts()).map(([reason, value]) => ({
        labels: { reason },
        value,
      })),
  );
  metrics.observe(
    'counter',
    {
      name: 'treeline_flags_unjudged_total',
      help: 'Flags that went up because no verdict came within deepCheck.waitMs',
    },
    () => [{ labels: {}, value: overlay.lateCount }],
  );
  metrics.observe(
    'counter',
    {
      name: 'treeline_verdicts_forgotten_total',
      help: 'Verdicts that a scorer forgot before their anomaly because there were too many',
    },
    () => [{ labels: {}, value: overlay.forgottenCount }],
  );
}

function observePartitions(metrics: Metrics, view: ScorerView): void {
  const labels = ['partition'];
  const of = (partition: number, value: number): Reading => ({
    labels: { partition: String(partition) },
    value,
  });
  metrics.observe(
    'counter',
    {
      name: 'treeline_samples_total',
      help: 'Logged samples by what became of them; part of the learnt state, so they survive a restart',
      labels: ['partition', 'outcome'],
    },
    () =>
      [...view.owned()].flatMap(({ index, partition }) =>
        OUTCOMES.map((outcome) => ({
          labels: { partition: String(index), outcome },
          value: partition.counts[outcome],
        })),
      ),
  );
  metrics.observe(
    'gauge',
    { name: 'treeline_partition_lag_records', help: 'Records logged and not yet scored', labels },
    async () => {
      const lags = [...view.owned()].map(async ({ index }) => ({
        index,
        lag: await soon(view.lag(index)),
      }));
      const known = await Promise.all(lags);
      return known.flatMap(({ index, lag }) => (lag === undefined ? [] : [of(index, lag)]));
    },
  );
  metrics.observe(
    'gauge',
    {
      name: 'treeline_partition_stopped_offset',
      help: 'Of a partition that stands still: offset of the record that cannot be read',
      labels,
    },
    () => view.standstills().map(({ partition, offset }) => of(partition, offset)),
  );
  metrics.observe(
    'counter',
    {
      name: 'treeline_control_records_total',
      help: 'Copies of control records read back, by what became of them, since their partition was restored',
      labels: ['partition', 'outcome'],
    },
    () =>
      [...view.owned()].flatMap(({ index, partition }) =>
        Object.entries(partition.control.counts).map(([outcome, value]) => ({
          labels: { partition: String(index), outcome },
          value,
        })),
      ),
  );
  metrics.observe(
    'gauge',
    { name: 'treeline_partitions_owned', help: 'Partitions that this process scores' },
    () => [{ labels: {}, value: [...view.owned()].length }],
  );
  metrics.observe(
    'gauge',
    { name: 'treeline_checkpoint_age_seconds', help: 'Since the newest checkpoint', labels },
    () =>
      [...view.owned()].flatMap(({ index, settled, saved }) => {
        if (saved === undefined) return [];
        // A partition to which nothing has been added needs no newer one.
        const ageMs = saved.offset === settled ? 0 : Math.max(0, view.clock() - saved.at);
        return [of(index, ageMs / 1000)];
      }),
  );
}

function observeSeries(metrics: Metrics, view: ScorerView): void {
  metrics.observe(
    'gauge',
    {
      name: 'treeline_series',
      help: 'Series known, by state; constant: scored, but it has never moved, as of the last full hour',
      labels: ['state'],
    },
    () => {
      let [scored, known, unsuited, constant] = [0, 0, 0, 0];
      for (const { partition } of view.owned()) {
        scored += partition.slots.scored;
        known += partition.slots.count;
        unsuited += partition.noise.unsuited.size;
        constant += partition.noise.constants;
      }
      return [
        { labels: { state: 'scored' }, value: Math.max(0, scored - unsuited - constant) },
        { labels: { state: 'constant' }, value: constant },
        { labels: { state: 'unsuited' }, value: unsuited },
        { labels: { state: 'unscored' }, value: known - scored },
      ];
    },
  );
  metrics.observe(
    'gauge',
    {
      name: 'treeline_no_learn_series',
      help: 'Series whose record is set aside, because a window says that nothing is to be learnt',
    },
    () => {
      let count = 0;
      for (const { partition } of view.owned()) count += partition.noise.noLearn.count;
      return [{ labels: {}, value: count }];
    },
  );
  metrics.observe(
    'gauge',
    { name: 'treeline_series_limit', help: 'Series scored per partition at most' },
    () => [{ labels: {}, value: view.seriesMax }],
  );
  metrics.observe(
    'gauge',
    {
      name: 'treeline_gauges_hidden',
      help: 'Series left without anomaly gauges because there are too many',
    },
    () => [{ labels: {}, value: view.gauges.hidden }],
  );
  metrics.observe(
    'gauge',
    { name: 'treeline_gauges_shown', help: 'Series that have anomaly gauges' },
    () => [{ labels: {}, value: view.gauges.shownCount }],
  );
  metrics.observe(
    'gauge',
    { name: 'treeline_series_bytes', help: 'Bytes held per scored series: record, labels, window' },
    () => {
      let [bytes, scored] = [0, 0];
      for (const { partition } of view.owned()) {
        const { slots, forest } = partition;
        const windowBytes = forest.windows === undefined ? 0 : WINDOW_BYTES_PER_SERIES;
        bytes += slots.bytes + slots.slotEnd * (forest.recordBytes + windowBytes);
        scored += slots.scored;
      }
      return scored === 0 ? [] : [{ labels: {}, value: bytes / scored }];
    },
  );
}
