// The Prometheus rules that come with Treeline, as one value: what is computed ahead, what is wrong with Treeline itself,
// and what it found, by severity. Every limit stands here once, with its reason. The file under deploy/ is made from it,
// and the dashboards show the same recorded series. Metric names are spelled out so that a search finds them.

export interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface RuleGroup {
  name: string;
  rules: Rule[];
}

/** What tells processes apart; our own metrics carry nothing else that Prometheus adds. */
const PROCESS = 'job, instance';
/** Both names of the route that senders use. */
export const WRITE_ROUTES = 'route=~"/api/v1/(write|push)"';
/** Health and warm-up answer 503 on purpose. */
const ASKED_ROUTES = 'route!~"/-/.*|/ready|/readyz|/health|/healthz|/detect"';
/** Score from which an incident is critical for an Alertmanager, too. */
const CRITICAL_SCORE = 3;
/** Flagged series of one namespace and job from which on they are more than an odd one. */
const SERIES_TOGETHER = 3;

export const RECORDED = {
  received: 'treeline:samples_received:rate5m',
  rejected: 'treeline:samples_rejected:rate5m',
  errors: 'treeline:http_errors:ratio_rate5m',
  writeSeconds: 'treeline:write_duration_seconds:p99_5m',
  visibleSeconds: 'treeline:visible_latency_seconds:p90_5m',
  memory: 'treeline:memory:ratio',
  flagged: 'treeline:anomaly_flag:count',
  severe: 'treeline:anomaly_flag:count_severe',
} as const;

export function ruleGroups(): RuleGroup[] {
  return [
    { name: 'treeline-recorded', rules: recordedRules() },
    { name: 'treeline-itself', rules: [...processAlerts(), ...logAlerts(), ...outsideAlerts()] },
    { name: 'treeline-anomalies', rules: anomalyAlerts() },
  ];
}

function recordedRules(): Rule[] {
  const failed = `sum by (${PROCESS}) (rate(treeline_http_requests_total{code=~"5..",${ASKED_ROUTES}}[5m]))`;
  const asked = `sum by (${PROCESS}) (rate(treeline_http_requests_total{${ASKED_ROUTES}}[5m]))`;
  const flagged = 'anomaly_flag == 1';
  const reached = `max_over_time(anomaly_score[15m]) >= ${CRITICAL_SCORE}`;
  return [
    {
      record: RECORDED.received,
      expr: `sum by (${PROCESS}) (rate(treeline_samples_received_total[5m]))`,
    },
    {
      record: RECORDED.rejected,
      expr: `sum by (${PROCESS}, reason) (rate(treeline_samples_rejected_total[5m]))`,
    },
    // Without requests there is no share: a division by zero would be NaN for ever.
    { record: RECORDED.errors, expr: `${failed} / (${asked} > 0)` },
    {
      record: RECORDED.writeSeconds,
      expr: quantile(0.99, 'treeline_http_request_duration_seconds', WRITE_ROUTES),
    },
    { record: RECORDED.visibleSeconds, expr: quantile(0.9, 'treeline_visible_latency_seconds') },
    {
      record: RECORDED.memory,
      expr: `process_resident_memory_bytes / on (${PROCESS}) treeline_memory_limit_bytes`,
    },
    { record: RECORDED.flagged, expr: `count by (namespace, job) (${flagged})` },
    // The flag outlasts the score of the sample that raised it.
    { record: RECORDED.severe, expr: `count by (namespace, job) (${flagged} and ${reached})` },
  ];
}

function processAlerts(): Rule[] {
  return [
    alert('TreelineAbsent', 'critical', {
      // By job: an instance that was replaced by another one is not missed.
      expr:
        'group by (job) (max_over_time(treeline_build_info[1h]))' +
        ' unless group by (job) (treeline_build_info)',
      for: '5m',
      summary: 'No process of Treeline answers Prometheus',
      fix: 'Was it ended, or is its address another one? Senders keep samples and repeat them for two hours.',
    }),
    alert('TreelineErrors', 'warning', {
      expr: `${RECORDED.errors} > 0.05`,
      for: '5m',
      summary: '{{ $value | humanizePercentage }} of the requests fail with 5xx (limit 5 %)',
      fix: 'Senders repeat what is answered 503. /-/ready names what is away; the log of the process names the rest.',
    }),
    alert('TreelineMemory', 'critical', {
      expr: `${RECORDED.memory} > 0.9`,
      for: '5m',
      summary:
        '{{ $value | humanizePercentage }} of the memory is used that the process may have (limit 90 %)',
      fix: 'Lower ingest.maxSeries or limits.memory, drop series by ingest.drop, or give it more memory.',
    }),
    alert('TreelineWritesSlow', 'warning', {
      expr: `${RECORDED.writeSeconds} > 1`,
      for: '10m',
      summary: 'One write in a hundred takes {{ $value | humanizeDuration }} (limit 1 s)',
      fix: 'A slow disk or broker, or too little CPU: the answer waits until samples are durable.',
    }),
    alert('TreelineScoresLate', 'warning', {
      // Prometheus itself keeps samples back for up to 5 s (batch_send_deadline), which is in this number.
      expr: `${RECORDED.visibleSeconds} > 30`,
      for: '10m',
      summary: 'Scores appear {{ $value | humanizeDuration }} after their samples (limit 30 s)',
      fix: 'Either the sender is behind (its prometheus_remote_storage_* metrics say so) or scoring is: see treeline_partition_lag_records.',
    }),
    alert('TreelineReloadFailed', 'warning', {
      expr: 'treeline_config_last_reload_successful == 0',
      for: '5m',
      summary: 'The settings file is invalid; what was read before is in force',
      fix: 'treeline config check FILE names every fault with line and column.',
    }),
    alert('TreelineSeriesRefused', 'warning', {
      expr: `sum by (${PROCESS}) (increase(treeline_samples_total{outcome="refused"}[15m])) > 0`,
      for: '15m',
      summary: '{{ $value | humanize }} samples in 15 minutes belong to series over the limit',
      fix: 'Raise ingest.maxSeries or limits.memory, or leave series out by ingest.drop.',
    }),
  ];
}

function logAlerts(): Rule[] {
  return [
    alert('TreelineDiskFull', 'critical', {
      expr: 'treeline_disk_free_bytes < 1e9',
      for: '5m',
      summary: '{{ $value | humanize1024 }}B are free where the data directory lies (limit 1 GB)',
      fix: 'Free some, or lower log.retentionSize. When nothing is left samples are answered 503, not lost.',
    }),
    alert('TreelineLag', 'warning', {
      // One or two records are always under way; a hundred of them at every look are not.
      expr: 'min_over_time(treeline_partition_lag_records[10m]) > 100',
      for: '5m',
      summary: 'Partition {{ $labels.partition }} is {{ $value }} records behind',
      fix: 'Too little CPU, or a replay after a start. In a cluster start another scorer.',
    }),
    alert('TreelinePartitionStopped', 'critical', {
      expr: 'treeline_partition_stopped_offset >= 0',
      for: '1m',
      summary:
        'Partition {{ $labels.partition }} stands still at offset {{ $value }}: the record cannot be read',
      fix: '/-/ready has the reason: upgrade for a newer format, else scorer.poison: quarantine leaves it out.',
    }),
    alert('TreelineCheckpointOld', 'warning', {
      // Ten times the default of checkpoint.interval.
      expr: 'treeline_checkpoint_age_seconds > 600',
      for: '5m',
      summary:
        'The checkpoint of partition {{ $labels.partition }} is {{ $value | humanizeDuration }} old (limit 10 min)',
      fix: 'Checkpoints fail, and a restart would replay as much: see treeline_checkpoint_failures_total and the log of the process.',
    }),
    alert('TreelineLogLost', 'critical', {
      expr: anyOf(
        grown('treeline_log_gap_records_total'),
        grown('treeline_log_truncations_total'),
        grown('treeline_log_unreadable_records_total'),
      ),
      summary:
        'Records of {{ $labels.topic }}/{{ $labels.partition }} were lost before they were scored',
      fix: 'Gap: raise log.retentionSize or log.retentionAge. Truncation: the replication of the brokers. Unreadable: somebody else writes to the topic.',
    }),
    alert('TreelineKafka', 'warning', {
      // A rejoin or a repeated append now and then is Kafka's everyday life.
      expr: anyOf(
        'increase(treeline_kafka_troubles_total{kind=~"append_failed|crash|foreign_record"}[10m]) > 0',
        'increase(treeline_kafka_troubles_total{kind=~"append_repeated|append_late|fetch_failed|rejoin|commit_refused"}[10m]) > 20',
      ),
      for: '5m',
      summary: '{{ $value | humanize }} times in 10 minutes: {{ $labels.kind }}',
      fix: 'Look at the brokers. append_failed was answered 503 and is repeated by senders.',
    }),
  ];
}

function outsideAlerts(): Rule[] {
  return [
    alert('TreelineAlertsUnsent', 'critical', {
      expr: 'increase(treeline_alerts_total{outcome=~"failed|refused"}[10m]) > 0',
      for: '10m',
      summary: 'An Alertmanager does not take alerts ({{ $labels.outcome }})',
      fix: 'Check alerts.alertmanagers; what still fires is sent when it is back.',
    }),
    alert('TreelineSendersRefused', 'warning', {
      expr: `sum by (${PROCESS}, code) (increase(treeline_http_requests_total{code=~"400|401|403|413|429",${WRITE_ROUTES}}[15m])) > 0`,
      for: '15m',
      summary: '{{ $value | humanize }} writes in 15 minutes are answered {{ $labels.code }}',
      fix: 'A sender drops what is answered so; the answer it logs says why.',
    }),
  ];
}

/** One alert per namespace and job, not per series: an outage flags hundreds of them. */
function anomalyAlerts(): Rule[] {
  const many = `${RECORDED.flagged} >= ${SERIES_TOGETHER}`;
  const critical = `${RECORDED.flagged} >= ${SERIES_TOGETHER} and ${RECORDED.severe} >= 1`;
  const where = 'of namespace {{ $labels.namespace }}, job {{ $labels.job }}';
  const fix = 'anomaly_flag == 1 names them; /anomaly/v1/incidents says which was first.';
  return [
    alert('AnomaliesCritical', 'critical', {
      expr: critical,
      for: '2m',
      summary: `{{ $value }} series ${where} are anomalous together, at least one by ${CRITICAL_SCORE} times the threshold`,
      fix,
    }),
    alert('AnomaliesWarning', 'warning', {
      // As long as the other one fires this one would say the same again.
      expr: `(${RECORDED.severe} >= 1 or ${many}) unless (${critical})`,
      for: '2m',
      summary: `{{ $value }} series ${where} are anomalous, together or by ${CRITICAL_SCORE} times the threshold`,
      fix,
    }),
  ];
}

interface AlertText {
  expr: string;
  for?: string;
  summary: string;
  fix: string;
}

function alert(name: string, severity: 'critical' | 'warning', text: AlertText): Rule {
  return {
    alert: name,
    expr: text.expr,
    ...(text.for !== undefined && { for: text.for }),
    labels: { severity },
    annotations: { summary: text.summary, description: text.fix },
  };
}

function quantile(q: number, histogram: string, matcher = ''): string {
  const selector = matcher === '' ? '' : `{${matcher}}`;
  return `histogram_quantile(${q}, sum by (${PROCESS}, le) (rate(${histogram}_bucket${selector}[5m])))`;
}

/** Also when the counter has only just appeared: what is counted seldom is not there before its first time. */
function grown(counter: string): string {
  return `increase(${counter}[15m]) > 0 or (${counter} > 0 unless ${counter} offset 15m)`;
}

function anyOf(...expressions: string[]): string {
  return expressions.join(' or ');
}
