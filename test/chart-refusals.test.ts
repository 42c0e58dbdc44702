// Mistakes that people make in values, each refused by both Helms before anything reaches a cluster, with a message that
// names the key. What the schema sees is named by it; what only several values together show, by the templates.

import { expect, test } from 'vitest';
import type { HelmMajor } from './chart-programs.js';
import { CHART, merged, refusal, renderText, runHelm, type Values } from './chart-render.js';

/** Of the schema: the key must be in the message, with dots as Helm 3 writes it or with slashes as Helm 4 does. */
const MISSHAPEN: readonly [key: string, values: Values][] = [
  ['replicaCount', { receiver: { replicaCount: 3 } }],
  ['recevier', { recevier: { replicas: 3 } }],
  ['mode', { mode: 'standalone' }],
  ['workloadType', { workloadType: 'daemonset' }],
  ['partitions', { partitions: 65 }],
  ['partitions', { partitions: 0 }],
  ['partitions', { partitions: '8' }],
  ['receiver.replicas', { receiver: { replicas: '3' } }],
  ['scorer.replicas', { scorer: { replicas: -1 } }],
  ['scorer.checkpointStore', { scorer: { checkpointStore: 'redis' } }],
  ['scorer.persistence.size', { scorer: { persistence: { size: '10 GB' } } }],
  ['scorer.persistence.accessModes', { scorer: { persistence: { accessModes: [] } } }],
  ['api.persistence.enabled', { api: { persistence: { enabled: 'yes' } } }],
  ['image.tag', { image: { tag: 1.2 } }],
  ['image.digest', { image: { digest: 'sha256:abc' } }],
  ['image.variant', { image: { variant: 'slim' } }],
  ['image.pullPolicy', { image: { pullPolicy: 'Sometimes' } }],
  ['global.imagePullSecrets', { global: { imagePullSecrets: 'registry' } }],
  ['global.openshift', { global: { openshift: true } }],
  ['global.commonLabels.team', { global: { commonLabels: { team: 7 } } }],
  ['config', { config: { lisen: '0.0.0.0:1' } }],
  ['config.mode', { config: { mode: 'dry-run' } }],
  ['config.alerts.budget', { config: { alerts: { budget: 'five' } } }],
  ['config.logging.level', { config: { logging: { level: 'trace' } } }],
  ['listen', { config: { listen: '0.0.0.0:8275' } }],
  ['listenMetrics', { config: { listenMetrics: '0.0.0.0:8276' } }],
  ['metricsPort', { metricsPort: '8276' }],
  ['kafka', { config: { log: { kafka: { brokers: ['a:9092'] } } } }],
  ['kafka.brokers', { kafka: { brokers: 'kafka:9092' } }],
  ['kafka.brokers', { kafka: { brokers: ['kafka'] } }],
  ['kafka.replication', { kafka: { replication: 0 } }],
  ['kafka.sasl.mechanism', { kafka: { sasl: { mechanism: 'SCRAM-SHA-512' } } }],
  ['kafka.development.enabled', { kafka: { development: { enabled: 'yes' } } }],
  ['kafka.development.heap', { kafka: { development: { heap: '512Mi' } } }],
  ['redis.address', { redis: { address: 'redis.example.com' } }],
  ['auth.open', { auth: { open: ['everything'] } }],
  ['auth.existingSecret', { auth: { existingSecret: 'My_Secret' } }],
  ['token', { auth: { token: 'abc' } }],
  ['secretEnv.data', { secretEnv: { create: true, data: { A: 'not base64!' } } }],
  ['defaults.antiAffinity', { defaults: { antiAffinity: 'required' } }],
  [
    'topologySpread.whenUnsatisfiable',
    { defaults: { topologySpread: { whenUnsatisfiable: 'No' } } },
  ],
  ['resources', { receiver: { resources: { request: { cpu: 1 } } } }],
  ['resources', { receiver: { resources: { limits: { memory: [1] } } } }],
  ['service.type', { receiver: { service: { type: 'Loadbalancer' } } }],
  ['service.port', { receiver: { service: { port: 70_000 } } }],
  ['autoscaling.type', { receiver: { autoscaling: { type: 'on' } } }],
  ['autoscaling', { receiver: { autoscaling: { enabled: true } } }],
  ['updateMode', { scorer: { vpa: { updateMode: 'on' } } }],
  ['probes.liveness', { defaults: { probes: { liveness: { period: 5 } } } }],
  ['env', { receiver: { env: [{ name: 'A', value: 'b' }] } }],
  ['jobs.report.schedule', { jobs: { report: { schedule: 'daily' } } }],
  ['jobDefaults.restartPolicy', { jobDefaults: { restartPolicy: 'Always' } }],
  ['task.args', { task: { args: 'score' } }],
  ['ingress.hosts', { ingress: { hosts: 'treeline.example.com' } }],
  ['ingress.tls', { ingress: { tls: [{ hosts: ['a'] }] } }],
  ['serviceMonitor.interval', { monitoring: { serviceMonitor: { interval: 15 } } }],
  ['networkPolicy.dnsPorts', { networkPolicy: { dnsPorts: ['dns'] } }],
];

const brokers = ['kafka:9092'];
const keda = (maxReplicas: number) => ({ autoscaling: { type: 'keda', maxReplicas } });

/** Of the templates: one sentence that begins with the key. */
const MISMATCHED: readonly [sentence: string, values: Values][] = [
  ['scorer.replicas: 9 pods share 8 partitions', { partitions: 8, scorer: { replicas: 9 } }],
  ['scorer.autoscaling.maxReplicas: 9 pods cannot share 8', { partitions: 8, scorer: keda(9) }],
  [
    'deepCheck.autoscaling.maxReplicas: 9 pods',
    { partitions: 8, deepCheck: { enabled: true, ...keda(9) } },
  ],
  [
    'partitions: 8 here and 16 in config.log.partitions',
    { partitions: 8, config: { log: { partitions: 16 } } },
  ],
  ['config.log.partitions: set partitions: 16 instead', { config: { log: { partitions: 16 } } }],
  [
    'scorer.autoscaling.minReplicas: 5 is more than',
    { scorer: { autoscaling: { type: 'hpa', minReplicas: 5, maxReplicas: 2 } } },
  ],
  [
    'receiver.autoscaling.minReplicas: an HPA keeps',
    { receiver: { autoscaling: { type: 'hpa', minReplicas: 0 } } },
  ],
  ['receiver.autoscaling: an HPA needs', { receiver: { autoscaling: { type: 'hpa', cpu: null } } }],
  ['receiver.autoscaling.metrics: receiver has no lag', { receiver: keda(3) }],
  ['api.autoscaling.type: api is not scaled', { api: { autoscaling: { type: 'hpa' } } }],
  [
    'scorer.checkpointStore: with autoscaling',
    { scorer: { checkpointStore: 'volume', ...keda(3) } },
  ],
  [
    'scorer.persistence.enabled: with scorer.checkpointStore: volume',
    { scorer: { checkpointStore: 'volume', persistence: { enabled: false } } },
  ],
  ['api.replicas: more than one needs a Redis', { api: { replicas: 2 } }],
  ['metricsPort: containerPort is 8276, too', { containerPort: 8276 }],
  ['api.service.port: metricsPort is 8276, too', { api: { service: { port: 8276 } } }],
  [
    'networkPolicy.metricsFrom: metricsPort is null',
    { metricsPort: null, networkPolicy: { metricsFrom: [{ podSelector: {} }] } },
  ],
  [
    'auth.writeToken: this looks like a placeholder',
    { auth: { writeToken: 'CHANGE_ME_please_now_1234' } },
  ],
  [
    'auth.readToken: this looks like a placeholder',
    { auth: { readToken: '<your token goes here please>' } },
  ],
  ['auth.adminToken: 5 characters are too short', { auth: { adminToken: 'abc12' } }],
  [
    'redis.development.password: this looks like a placeholder',
    { redis: { development: { enabled: true, password: 'changeme' } } },
  ],
  [
    'secretEnv.stringData.API_KEY: this looks like a placeholder',
    { secretEnv: { create: true, stringData: { API_KEY: 'TODO' } } },
  ],
  [
    'secretEnv.create: secretEnv.existingSecret names',
    { secretEnv: { create: true, existingSecret: 'mine' } },
  ],
  [
    'auth.externalSecret: name storeName and remoteKey',
    { auth: { externalSecret: { enabled: true } } },
  ],
  [
    'auth.externalSecret.enabled: auth.existingSecret names',
    { auth: { existingSecret: 'mine', externalSecret: { enabled: true } } },
  ],
  ['tls.existingSecret: name the Secret', { tls: { enabled: true } }],
  ['image.tag: latest is another image tomorrow', { image: { tag: 'latest' } }],
  ['global.version: latest-1 is another', { global: { version: 'latest-1' } }],
  ['scorer.image.tag: latest is another', { scorer: { image: { tag: 'latest' } } }],
  [
    'receiver.image.variant: heavy adds ONNX Runtime',
    { receiver: { image: { variant: 'heavy' } } },
  ],
  ['kafka.brokers: name brokers', { kafka: { development: { enabled: false } } }],
  [
    'kafka.development.enabled: kafka.brokers names',
    { kafka: { brokers, development: { enabled: true } } },
  ],
  ['kafka.sasl: a mechanism needs username', { kafka: { brokers, sasl: { mechanism: 'plain' } } }],
  [
    'kafka.sasl.username: set kafka.sasl.mechanism',
    { kafka: { brokers, sasl: { username: 'me' } } },
  ],
  [
    'kafka.tls, kafka.sasl: the development Kafka speaks neither',
    { kafka: { tls: { enabled: true } } },
  ],
  [
    'kafka.tls.keyKey: a certificate needs',
    { kafka: { brokers, tls: { enabled: true, existingSecret: 's', certKey: 'c' } } },
  ],
  ['redis.address: redis.sentinels is set too', { redis: { address: 'a:1', sentinels: ['s:1'] } }],
  [
    'redis.development.enabled: redis.address or',
    { redis: { address: 'a:1', development: { enabled: true } } },
  ],
  [
    'redis.tls.enabled: certificates mean nothing',
    { redis: { address: 'a:1', tls: { existingSecret: 's' } } },
  ],
  ['deepCheck.runtime: remote needs', { deepCheck: { enabled: true, runtime: 'remote' } }],
  ['deepCheck.runtime: native needs', { deepCheck: { enabled: true, runtime: 'native' } }],
  [
    'inference.model.name: name the claim',
    { inference: { enabled: true, model: { source: 'claim' } } },
  ],
  ['task.args: say what workloadType job', { workloadType: 'job' }],
  ['jobs.score.existingClaim: name the claim', { jobs: { score: { enabled: true } } }],
  ['jobs.backtest: name prometheus and query', { jobs: { backtest: { enabled: true } } }],
  ['jobs.report.prometheus: name the Prometheus', { jobs: { report: { enabled: true } } }],
  ['jobs.stateExport.existingClaim: name the claim', { jobs: { stateExport: { enabled: true } } }],
  [
    'jobs.stateExport.enabled: beside running scorers',
    { mode: 'edge', jobs: { stateExport: { enabled: true, existingClaim: 'c' } } },
  ],
  [
    'jobs.topics.enabled: mode edge has no topics',
    { mode: 'edge', jobs: { topics: { enabled: true } } },
  ],
  [
    'edge.backfill: name prometheus and query',
    { mode: 'edge', edge: { backfill: { enabled: true } } },
  ],
  ['ingress.hosts: name at least one', { ingress: { enabled: true, hosts: [] } }],
  [
    'ingress.enabled: a job answers nobody',
    { workloadType: 'job', task: { args: ['report'] }, ingress: { enabled: true } },
  ],
  ['httpRoute.parentRefs: name at least one', { httpRoute: { enabled: true } }],
  [
    'monitoring.podMonitor.enabled: serviceMonitor is enabled too',
    { monitoring: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } } },
  ],
];

test('what the schema refuses is named by its key, by both Helms', {
  timeout: 180_000,
}, async () => {
  expect(MISSHAPEN.length).toBeGreaterThanOrEqual(40);
  for (const major of [3, 4] as HelmMajor[]) {
    for (const [key, values] of MISSHAPEN) {
      const said = (await refusal(values, { major })).replaceAll('/', '.');
      expect(said, `Helm ${major}, ${JSON.stringify(values)}`).toContain(key);
      expect(said).toContain("values don't meet the specifications of the schema");
    }
  }
});

test('what does not fit together is refused with a sentence that begins with the key', {
  timeout: 180_000,
}, async () => {
  for (const [sentence, values] of MISMATCHED) {
    const said = await refusal(values);
    expect(said, JSON.stringify(values)).toContain(`: ${sentence}`);
  }
});

test('each of these mistakes can be mended: what surrounds it is taken', async () => {
  const mended: Values[] = [
    { partitions: 8, scorer: { replicas: 8 } },
    { partitions: 8, scorer: keda(8) },
    { auth: { writeToken: 'k3VhQz7TnR2pWb9XsLm5', readToken: '', adminToken: '' } },
    { kafka: { brokers, development: { enabled: false } } },
    { api: { replicas: 2 }, redis: { address: 'a:6379' } },
    { deepCheck: { enabled: true, runtime: 'native', image: { variant: 'heavy' } } },
    { workloadType: 'job', task: { args: ['report'] } },
  ];
  for (const values of mended) {
    expect(await renderText(merged(values))).toContain('kind:');
  }
});

test('a mistake in a file of overrides stops an install before a cluster is asked', async () => {
  await expect(
    runHelm(4, ['install', 'rel', CHART, '--dry-run=client', '--set', 'scorer.replica=2']),
  ).rejects.toThrow(/scorer.*replica/s);
});
