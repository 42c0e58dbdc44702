// Three small dashboards on the user's own Prometheus: what is anomalous (overview), one entity with its series and their
// bands (entity), and Treeline itself (self). They read what is scraped from /metrics and /metrics/anomalies and what
// rules.ts records of it. Limits shown as lines are those that the alerts have.

import { type Dashboard, dashboard, type PanelSpec, type Query } from './panels.js';
import { RECORDED, WRITE_ROUTES } from './rules.js';

export function dashboards(): Record<'overview' | 'entity' | 'self', Dashboard> {
  return { overview: overview(), entity: entity(), self: self() };
}

const ROWS_MAX = 20;
const IN_GROUP = 'namespace=~"$namespace",job=~"$job"';
const IN_ENTITY = `${IN_GROUP},pod=~"$pod",instance=~"$instance"`;
const OF_PROCESS = 'job=~"$job",instance=~"$instance"';
const COUNTER_NAME = '.+_(total|count|sum)';

const groupVariables = [
  { name: 'namespace', label: 'Namespace', query: 'label_values(anomaly_rate, namespace)' },
  {
    name: 'job',
    label: 'Job',
    query: 'label_values(anomaly_rate{namespace=~"$namespace"}, job)',
  },
];

function overview(): Dashboard {
  return dashboard({
    uid: 'treeline-overview',
    title: 'Treeline / Overview',
    description: 'What is anomalous now, where, and how it has been',
    variables: groupVariables,
    panels: [
      stat('Series flagged now', `sum(${RECORDED.flagged}{${IN_GROUP}}) or vector(0)`, {
        limits: { amber: 1, red: 10 },
        description: 'Series with an open anomaly',
      }),
      stat('Of them severe', `sum(${RECORDED.severe}{${IN_GROUP}}) or vector(0)`, {
        limits: { red: 1 },
        description: 'Score of 3 or more in the last 15 minutes; 1 is the threshold',
      }),
      stat('Incidents, last day', 'sum(increase(treeline_incidents_total[1d]))', {
        description: 'Anomalies that belong together are one incident',
      }),
      stat('Alert budget spent', 'max(treeline_alert_budget_ratio)', {
        unit: 'percentunit',
        limits: { amber: 1 },
        description: 'Incidents notified in the last day, as a share of alerts.budget',
      }),
      chart(
        'Flagged series',
        [{ expr: `${RECORDED.flagged}{${IN_GROUP}}`, legend: '{{namespace}} {{job}}' }],
        { width: 12 },
      ),
      chart(
        'Share of series flagged',
        [
          {
            expr: `topk(${ROWS_MAX}, max by (namespace, job) (anomaly_rate{${IN_GROUP}}) > 0)`,
            legend: '{{namespace}} {{job}}',
          },
        ],
        { width: 12, unit: 'percentunit' },
      ),
      table('Highest scores of flagged series', [
        {
          expr: `topk(${ROWS_MAX}, anomaly_score{${IN_GROUP}} and anomaly_flag{${IN_GROUP}} == 1)`,
        },
      ]),
      table('Most often flagged in the range shown', [
        {
          expr: `topk(${ROWS_MAX}, sum by (namespace, job, source_metric) (avg_over_time(anomaly_flag{${IN_GROUP}}[$__range])) > 0)`,
        },
      ]),
    ],
  });
}

function entity(): Dashboard {
  const values = (name: string, label: string, within: string) => ({
    name,
    label,
    query: `label_values(anomaly_flag{${within}}, ${name})`,
  });
  const chosen = `source_metric="$source_metric",${IN_ENTITY}`;
  const band = (gauge: string, legend: string): Query => ({
    expr: `${gauge}{${chosen}}`,
    legend,
  });
  return dashboard({
    uid: 'treeline-entity',
    title: 'Treeline / Entity',
    description: 'Scores, flags and expected bands of the series of one pod or instance',
    variables: [
      ...groupVariables,
      values('pod', 'Pod', IN_GROUP),
      values('instance', 'Instance', `${IN_GROUP},pod=~"$pod"`),
      { ...values('source_metric', 'Metric', IN_ENTITY), isSingle: true },
    ],
    panels: [
      chart(
        'Score; 1 is the threshold',
        [
          {
            expr: `topk(${ROWS_MAX}, anomaly_score{${IN_ENTITY}})`,
            legend: '{{source_metric}} {{pod}}',
          },
        ],
        { width: 12, limits: { red: 1 } },
      ),
      {
        ...chart(
          'Open anomalies',
          [
            {
              expr: `topk(${ROWS_MAX}, max by (source_metric, pod, instance) (anomaly_flag{${IN_ENTITY}}))`,
              legend: '{{source_metric}} {{pod}} {{instance}}',
            },
          ],
          { width: 12, limits: { red: 1 } },
        ),
        kind: 'state-timeline',
      },
      {
        ...chart(
          'Value and expected band',
          [
            // A counter is scored as its rate, and its band is one of rates. Prometheus knows its series by name.
            {
              expr:
                `rate({__name__="$source_metric",__name__=~"${COUNTER_NAME}",${IN_ENTITY}}[$__rate_interval])` +
                ` or {__name__="$source_metric",__name__!~"${COUNTER_NAME}",${IN_ENTITY}}`,
              legend: 'value',
            },
            band('anomaly_expected', 'expected'),
            band('anomaly_expected_lower', 'lower'),
            band('anomaly_expected_upper', 'upper'),
          ],
          { width: 24, height: 10 },
        ),
        description:
          'Choose one metric and one pod or instance: bands of several series hide each other',
        hasBand: true,
      },
      table('Series of this entity', [{ expr: `topk(${ROWS_MAX}, anomaly_score{${IN_ENTITY}})` }]),
    ],
  });
}

function self(): Dashboard {
  const by = '{{instance}}';
  const chosen = (recorded: string, legend = by): Query[] => [
    { expr: `${recorded}{${OF_PROCESS}}`, legend },
  ];
  return dashboard({
    uid: 'treeline-self',
    title: 'Treeline / Itself',
    description: 'Load, errors, delay, memory, log and checkpoints of the processes of Treeline',
    variables: [
      { name: 'job', label: 'Job', query: 'label_values(treeline_build_info, job)' },
      {
        name: 'instance',
        label: 'Instance',
        query: 'label_values(treeline_build_info{job=~"$job"}, instance)',
      },
    ],
    panels: [
      stat('Samples per second', `sum(${RECORDED.received}{${OF_PROCESS}})`, { unit: 'short' }),
      stat('Series scored', `sum(treeline_series{state=~"scored|constant",${OF_PROCESS}})`, {
        unit: 'short',
      }),
      stat('5xx answers', `max(${RECORDED.errors}{${OF_PROCESS}}) or vector(0)`, {
        unit: 'percentunit',
        limits: { red: 0.05 },
      }),
      stat('Disk free', `min(treeline_disk_free_bytes{${OF_PROCESS}})`, { unit: 'bytes' }),
      chart('Samples received', chosen(RECORDED.received), { unit: 'short' }),
      chart('Samples not logged', chosen(RECORDED.rejected, `${by} {{reason}}`), { unit: 'short' }),
      chart(
        'Logged samples by what became of them',
        [
          {
            expr: `sum by (outcome) (rate(treeline_samples_total{${OF_PROCESS}}[$__rate_interval]))`,
            legend: '{{outcome}}',
          },
        ],
        { unit: 'short' },
      ),
      chart('Write, 99th percentile', chosen(RECORDED.writeSeconds), {
        unit: 's',
        limits: { red: 1 },
      }),
      chart('Sample to visible score, 90th percentile', chosen(RECORDED.visibleSeconds), {
        unit: 's',
        limits: { red: 30 },
      }),
      chart(
        'Writes by answer',
        [
          {
            expr: `sum by (code) (rate(treeline_http_requests_total{${WRITE_ROUTES},${OF_PROCESS}}[$__rate_interval]))`,
            legend: '{{code}}',
          },
        ],
        { unit: 'reqps' },
      ),
      chart('Memory used of what there is', chosen(RECORDED.memory), {
        unit: 'percentunit',
        limits: { red: 0.9 },
      }),
      chart(
        'CPU',
        [{ expr: `rate(process_cpu_seconds_total{${OF_PROCESS}}[$__rate_interval])`, legend: by }],
        { unit: 'percentunit' },
      ),
      chart('Event loop delay', chosen('nodejs_eventloop_lag_p99_seconds'), { unit: 's' }),
      chart(
        'Records logged and not yet scored',
        chosen('treeline_partition_lag_records', `${by} {{partition}}`),
        { unit: 'short' },
      ),
      chart(
        'Age of checkpoints',
        chosen('treeline_checkpoint_age_seconds', `${by} {{partition}}`),
        { unit: 's', limits: { red: 600 } },
      ),
      chart(
        'Troubles with Kafka',
        [
          {
            expr: `sum by (kind) (increase(treeline_kafka_troubles_total{${OF_PROCESS}}[$__rate_interval]))`,
            legend: '{{kind}}',
          },
        ],
        { unit: 'short' },
      ),
    ],
  });
}

type Options = Partial<Pick<PanelSpec, 'unit' | 'width' | 'height' | 'limits' | 'description'>>;

function stat(title: string, expr: string, options: Options): PanelSpec {
  return { title, kind: 'stat', width: 6, height: 4, queries: [{ expr }], ...options };
}

function chart(title: string, queries: Query[], options: Options): PanelSpec {
  return { title, kind: 'timeseries', width: 8, queries, ...options };
}

function table(title: string, queries: Query[]): PanelSpec {
  return { title, kind: 'table', width: 24, queries };
}
