// Values that switch on as much of the chart as fits together, for tests that look at every kind of object.

import { merged, type Values } from './chart-render.js';

const full: Values = {
  config: { checkpoint: { interval: '5m' } },
  kafka: {
    brokers: ['kafka-0:9093', 'kafka-1:9093'],
    tls: { enabled: true, existingSecret: 'kafka-tls', certKey: 'tls.crt', keyKey: 'tls.key' },
    sasl: { mechanism: 'scram-sha-512', username: 'treeline', existingSecret: 'kafka-user' },
  },
  redis: { development: { enabled: true, tls: { existingSecret: 'redis-tls' } } },
  tls: { enabled: true, existingSecret: 'listener-tls' },
  secretEnv: { create: true, immutable: true, stringData: { A: 'b' }, data: { C: 'ZA==' } },
  receiver: {
    replicas: 2,
    autoscaling: {
      type: 'hpa',
      memory: 80,
      behavior: { scaleDown: { stabilizationWindowSeconds: 60 } },
    },
    service: {
      type: 'LoadBalancer',
      loadBalancerClass: 'internal',
      trafficDistribution: 'PreferClose',
    },
    env: { A: '1', B: { valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } } },
  },
  scorer: {
    autoscaling: {
      type: 'keda',
      minReplicas: 2,
      maxReplicas: 8,
      behavior: { scaleDown: { stabilizationWindowSeconds: 60 } },
    },
    vpa: { enabled: true, minAllowed: { cpu: '100m' }, maxAllowed: { memory: '4Gi' } },
    antiAffinity: 'hard',
  },
  api: { replicas: 2, persistence: { existingClaim: 'anomalies' } },
  deepCheck: { enabled: true, runtime: 'remote', autoscaling: { type: 'keda', minReplicas: 0 } },
  inference: {
    enabled: true,
    image: { variant: 'heavy' },
    gpu: { enabled: true, nodeSelector: { gpu: 'yes' } },
    model: { source: 'claim', name: 'models' },
  },
  jobs: {
    topics: { enabled: true },
    score: { enabled: true, existingClaim: 'files', completions: 8, parallelism: 4 },
    backtest: { enabled: true, prometheus: 'http://prometheus:9090', query: 'node_load1' },
    stateExport: { enabled: true, existingClaim: 'backup' },
    report: { enabled: true, prometheus: 'http://prometheus:9090' },
  },
  ingress: {
    enabled: true,
    className: 'nginx',
    tls: { enabled: true, clusterIssuer: 'issuer', ciphers: 'HIGH' },
  },
  httpRoute: { enabled: true, parentRefs: [{ name: 'gateway', namespace: 'infra' }] },
  networkPolicy: {
    enabled: true,
    allowExternalEgress: false,
    from: [{ namespaceSelector: { matchLabels: { team: 'observability' } } }],
    metricsFrom: [{ namespaceSelector: { matchLabels: { team: 'prometheus' } } }],
    dnsTo: [{ namespaceSelector: {} }],
  },
  monitoring: {
    force: true,
    serviceMonitor: { enabled: true, metricRelabelings: [{ action: 'labeldrop', regex: 'x' }] },
    rules: { enabled: true },
    dashboards: { enabled: true, folder: 'Treeline' },
  },
  resourceQuota: { enabled: true },
  limitRange: { enabled: true },
};

/** The chart's values by a name for the scenario. */
export const SCENARIOS: Record<string, Values> = {
  'as it is': {},
  edge: { mode: 'edge' },
  'everything on Kafka': full,
  'everything at the edge': {
    mode: 'edge',
    edge: {
      backfill: { enabled: true, prometheus: 'http://p:9090', query: 'up', existingSecret: 'prom' },
      persistence: {
        storageClass: '-',
        annotations: { 'backup.velero.io/backup-volumes': 'data' },
      },
      service: { type: 'NodePort', nodePort: 30_275 },
    },
    networkPolicy: { enabled: true },
    monitoring: { force: true, podMonitor: { enabled: true }, annotations: true },
    jobs: { report: { enabled: true, prometheus: 'http://prometheus:9090' } },
  },
  'secrets from a store': {
    auth: { externalSecret: { enabled: true, storeName: 'vault', remoteKey: 'treeline' } },
  },
  'no authentication': { auth: { enabled: false } },
  'checkpoints on volumes': merged({ scorer: { checkpointStore: 'volume' } }),
  'sharded job': {
    workloadType: 'job',
    task: {
      args: ['score', '/work/input', '--out', '/work/output'],
      sharded: true,
      completions: 20,
      parallelism: 5,
      existingClaim: 'files',
    },
  },
  nightly: {
    workloadType: 'cronjob',
    task: { args: ['report'], timeZone: 'Europe/Berlin', gpu: { enabled: true } },
  },
  'development Redis and Kafka': {
    redis: { development: { enabled: true, persistence: { enabled: true } } },
    kafka: { development: { enabled: true } },
    networkPolicy: { enabled: true },
  },
};
