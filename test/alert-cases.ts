// For every alert: series that make it fire, with the sentence it then says, and series beside its limit that do not.
// Values are written as promtool reads them, one a minute: `0+6x40` counts by six, `_x5` are five missing samples.

export interface AlertCase {
  alert: string;
  name: string;
  series: Record<string, string>;
  /** Of the alert besides its severity. */
  labels?: Record<string, string>;
  /** The sentence of an alert that fires; absent when it must not. */
  summary?: string;
  at?: string;
}

const PROCESS = { job: 'treeline', instance: 'a:8275' };
const of = (metric: string, labels: Record<string, string> = {}) =>
  `${metric}{${Object.entries({ ...PROCESS, ...labels })
    .map(([name, value]) => `${name}="${value}"`)
    .join(',')}}`;

export const ALERT_CASES: AlertCase[] = [
  ...processCases(),
  ...requestCases(),
  ...logCases(),
  ...outsideCases(),
  ...anomalyCases(),
];

function processCases(): AlertCase[] {
  const build = (instance: string) => of('treeline_build_info', { instance, version: '1' });
  const memory = (used: number) => ({
    [of('process_resident_memory_bytes')]: `${used}x40`,
    [of('treeline_memory_limit_bytes')]: '1000x40',
    // Another program of the same Prometheus has no limit of ours.
    'process_resident_memory_bytes{job="node",instance="b"}': '9999x40',
  });
  return [
    {
      alert: 'TreelineAbsent',
      name: 'the only process has gone',
      series: { [build('a:8275')]: '1x10 _x30' },
      labels: { job: 'treeline' },
      summary: 'No process of Treeline answers Prometheus',
    },
    {
      alert: 'TreelineAbsent',
      name: 'one process was replaced by another',
      series: { [build('a:8275')]: '1x10 _x30', [build('b:8275')]: '_x10 1x30' },
    },
    {
      alert: 'TreelineMemory',
      name: 'above 90 %',
      series: memory(950),
      labels: PROCESS,
      summary: '95% of the memory is used that the process may have (limit 90 %)',
    },
    { alert: 'TreelineMemory', name: 'below 90 %', series: memory(890) },
    {
      alert: 'TreelineReloadFailed',
      name: 'an invalid file',
      series: { [of('treeline_config_last_reload_successful')]: '1x10 0x30' },
      labels: PROCESS,
      summary: 'The settings file is invalid; what was read before is in force',
    },
    {
      alert: 'TreelineReloadFailed',
      name: 'mended',
      series: { [of('treeline_config_last_reload_successful')]: '0x10 1x30' },
    },
    {
      alert: 'TreelineSeriesRefused',
      name: 'ten samples a minute',
      series: { [of('treeline_samples_total', { partition: '0', outcome: 'refused' })]: '0+10x40' },
      labels: PROCESS,
      at: '40m',
      summary: '150 samples in 15 minutes belong to series over the limit',
    },
    {
      alert: 'TreelineSeriesRefused',
      name: 'late ones are something else, and old refusals are over',
      series: {
        [of('treeline_samples_total', { partition: '0', outcome: 'late' })]: '0+10x40',
        [of('treeline_samples_total', { partition: '0', outcome: 'refused' })]: '70x40',
      },
      at: '40m',
    },
  ];
}

function requestCases(): AlertCase[] {
  const requests = (code: string, route = '/api/v1/write') =>
    of('treeline_http_requests_total', { route, code });
  const writes = (le: string) =>
    of('treeline_http_request_duration_seconds_bucket', { route: '/api/v1/write', le });
  const visible = (le: string) => of('treeline_visible_latency_seconds_bucket', { le });
  return [
    {
      alert: 'TreelineErrors',
      name: 'six of a hundred',
      series: { [requests('503')]: '0+6x40', [requests('204')]: '0+94x40' },
      labels: PROCESS,
      summary: '6% of the requests fail with 5xx (limit 5 %)',
    },
    {
      alert: 'TreelineErrors',
      name: 'four of a hundred',
      series: { [requests('503')]: '0+4x40', [requests('204')]: '0+96x40' },
    },
    {
      alert: 'TreelineErrors',
      name: 'readiness while it starts is no error',
      series: { [requests('503', '/-/ready')]: '0+60x40', [requests('204')]: '0+10x40' },
    },
    {
      alert: 'TreelineWritesSlow',
      name: 'twenty of a thousand between 1 and 2.5 s',
      series: {
        [writes('1')]: '0+980x40',
        [writes('2.5')]: '0+1000x40',
        [writes('+Inf')]: '0+1000x40',
      },
      labels: PROCESS,
      summary: 'One write in a hundred takes 1.75s (limit 1 s)',
    },
    {
      alert: 'TreelineWritesSlow',
      name: 'five of a thousand',
      series: {
        [writes('1')]: '0+995x40',
        [writes('2.5')]: '0+1000x40',
        [writes('+Inf')]: '0+1000x40',
      },
    },
    {
      alert: 'TreelineScoresLate',
      name: 'a fifth between 30 and 60 s',
      series: {
        [visible('30')]: '0+80x40',
        [visible('60')]: '0+100x40',
        [visible('+Inf')]: '0+100x40',
      },
      labels: PROCESS,
      summary: 'Scores appear 45s after their samples (limit 30 s)',
    },
    {
      alert: 'TreelineScoresLate',
      name: 'a twentieth',
      series: {
        [visible('30')]: '0+95x40',
        [visible('60')]: '0+100x40',
        [visible('+Inf')]: '0+100x40',
      },
    },
  ];
}

function logCases(): AlertCase[] {
  const gaps = of('treeline_log_gap_records_total', { topic: 'samples', partition: '1' });
  const lost = {
    alert: 'TreelineLogLost',
    labels: { ...PROCESS, topic: 'samples', partition: '1' },
    summary: 'Records of samples/1 were lost before they were scored',
  };
  const lag = of('treeline_partition_lag_records', { partition: '3' });
  const stopped = of('treeline_partition_stopped_offset', { partition: '3' });
  const checkpoint = of('treeline_checkpoint_age_seconds', { partition: '3' });
  const ofPartition = { ...PROCESS, partition: '3' };
  const troubles = (kind: string) => of('treeline_kafka_troubles_total', { kind });
  return [
    {
      alert: 'TreelineDiskFull',
      name: 'half a gigabyte',
      series: { [of('treeline_disk_free_bytes')]: '500000000x40' },
      labels: PROCESS,
      summary: '476.8MiB are free where the data directory lies (limit 1 GB)',
    },
    {
      alert: 'TreelineDiskFull',
      name: 'two gigabytes',
      series: { [of('treeline_disk_free_bytes')]: '2000000000x40' },
    },
    {
      alert: 'TreelineLag',
      name: 'it does not catch up',
      series: { [lag]: '150x40' },
      labels: ofPartition,
      summary: 'Partition 3 is 150 records behind',
    },
    { alert: 'TreelineLag', name: 'it catches up', series: { [lag]: '0 5000 '.repeat(20) } },
    {
      alert: 'TreelinePartitionStopped',
      name: 'at a record',
      series: { [stopped]: '42x40' },
      labels: ofPartition,
      summary: 'Partition 3 stands still at offset 42: the record cannot be read',
    },
    { alert: 'TreelinePartitionStopped', name: 'it goes on', series: { [stopped]: '42x10 _x30' } },
    {
      alert: 'TreelineCheckpointOld',
      name: 'more than ten minutes',
      series: { [checkpoint]: '700x40' },
      labels: ofPartition,
      summary: 'The checkpoint of partition 3 is 11m 40s old (limit 10 min)',
    },
    { alert: 'TreelineCheckpointOld', name: 'nine minutes', series: { [checkpoint]: '540x40' } },
    { ...lost, name: 'the counter has only just appeared', series: { [gaps]: '_x25 4x20' } },
    { ...lost, name: 'it has grown', series: { [gaps]: '4x25 9x20' } },
    { alert: 'TreelineLogLost', name: 'long ago', series: { [gaps]: '4x5 9x40' } },
    {
      alert: 'TreelineKafka',
      name: 'appends fail',
      series: { [troubles('append_failed')]: '0+1x40' },
      labels: { ...PROCESS, kind: 'append_failed' },
      summary: '10 times in 10 minutes: append_failed',
    },
    {
      alert: 'TreelineKafka',
      name: 'fetches fail all the time',
      series: { [troubles('fetch_failed')]: '0+3x40' },
      labels: { ...PROCESS, kind: 'fetch_failed' },
      summary: '30 times in 10 minutes: fetch_failed',
    },
    {
      alert: 'TreelineKafka',
      name: 'a fetch fails now and then',
      series: { [troubles('fetch_failed')]: '0+1x40', [troubles('append_failed')]: '8x40' },
    },
  ];
}

function outsideCases(): AlertCase[] {
  const alerts = (outcome: string) => of('treeline_alerts_total', { outcome });
  const requests = (code: string, route = '/api/v1/write') =>
    of('treeline_http_requests_total', { route, code });
  return [
    {
      alert: 'TreelineAlertsUnsent',
      name: 'an Alertmanager is away',
      series: { [alerts('failed')]: '0+1x40' },
      labels: { ...PROCESS, outcome: 'failed' },
      summary: 'An Alertmanager does not take alerts (failed)',
    },
    {
      alert: 'TreelineAlertsUnsent',
      name: 'once, and then accepted',
      series: { [alerts('failed')]: '0x10 1x30', [alerts('accepted')]: '0+1x40' },
      at: '20m',
    },
    {
      alert: 'TreelineSendersRefused',
      name: 'two writes a minute',
      series: { [requests('401')]: '0+2x40' },
      labels: { ...PROCESS, code: '401' },
      at: '40m',
      summary: '30 writes in 15 minutes are answered 401',
    },
    {
      alert: 'TreelineSendersRefused',
      name: 'somebody asks for gauges without a token',
      series: { [requests('401', '/metrics/anomalies')]: '0+2x40', [requests('204')]: '0+2x40' },
      at: '40m',
    },
  ];
}

function anomalyCases(): AlertCase[] {
  const flagged = (count: number, score: string) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => {
        const labels = `{namespace="shop",job="db",pod="db-${index}",source_metric="m",detector="series"}`;
        return [
          [`anomaly_flag${labels}`, '1x40'],
          [`anomaly_score${labels}`, score],
        ];
      }).flat(),
    );
  const labels = { namespace: 'shop', job: 'db' };
  const where = 'of namespace shop, job db are anomalous';
  return [
    {
      alert: 'AnomaliesCritical',
      name: 'three together, and high',
      // The score has come down again while the flag is up.
      series: flagged(3, '3.5x25 0.5x20'),
      labels,
      summary: `3 series ${where} together, at least one by 3 times the threshold`,
    },
    { alert: 'AnomaliesCritical', name: 'three together, not high', series: flagged(3, '2x40') },
    { alert: 'AnomaliesCritical', name: 'one alone', series: flagged(1, '9x40') },
    {
      alert: 'AnomaliesWarning',
      name: 'three together',
      series: flagged(3, '2x40'),
      labels,
      summary: `3 series ${where}, together or by 3 times the threshold`,
    },
    {
      alert: 'AnomaliesWarning',
      name: 'one alone, and high',
      series: flagged(1, '9x40'),
      labels,
      summary: `1 series ${where}, together or by 3 times the threshold`,
    },
    { alert: 'AnomaliesWarning', name: 'two, not high', series: flagged(2, '2x40') },
    {
      alert: 'AnomaliesWarning',
      name: 'the critical one fires already',
      series: flagged(3, '3.5x40'),
    },
  ];
}
