// For each value of the chart one that is not its default, and what else must be set for it to matter. What a type tells is
// derived; the rest stands here. The test that reads this fails for a value that is in no rendering.

import { merged, type Values, valueAt } from './chart-render.js';

export interface AwayCase {
  path: string;
  /** What surrounds it, with the value itself as by default. */
  context: Values;
  value: unknown;
  /** Shown in the rendering, where the value alone is not what is shown. */
  shows?: string;
}

const brokers = { kafka: { brokers: ['k1:9093'] } };
const kafkaTls = merged(brokers, {
  kafka: { tls: { enabled: true, existingSecret: 'kafka-tls' } },
});
const sasl = merged(brokers, {
  kafka: { sasl: { mechanism: 'plain', username: 'me', existingSecret: 'kafka-user' } },
});
const hpa = { defaults: { autoscaling: { type: 'hpa' } }, api: { autoscaling: { type: 'none' } } };
const keda = { scorer: { autoscaling: { type: 'keda' } } };
const store = { enabled: true, storeName: 'vault', remoteKey: 'treeline' };
const redis = { redis: { development: { enabled: true } } };
const redisTls = merged(redis, {
  redis: { development: { tls: { existingSecret: 'redis-tls' } } },
});
const outerRedis = { redis: { address: 'r:6379', tls: { enabled: true } } };
const monitors = { monitoring: { force: true, serviceMonitor: { enabled: true } } };
const pods = { monitoring: { force: true, podMonitor: { enabled: true } } };
const board = { monitoring: { dashboards: { enabled: true } } };
const secretEnv = { secretEnv: { create: true, stringData: { A: 'b' } } };
const balancer = { defaults: { service: { type: 'LoadBalancer' } } };
const tls = { tls: { enabled: true, existingSecret: 'tls' } };
const ingressTls = { ingress: { enabled: true, tls: { enabled: true } } };
const edge = { mode: 'edge' };
const backfill = {
  mode: 'edge',
  edge: { backfill: { enabled: true, prometheus: 'http://p:9090', query: 'up' } },
};
const task = { workloadType: 'job', task: { args: ['score', '/work/input'] } };
const nightly = { workloadType: 'cronjob', task: { args: ['score', '/work/input'] } };
const deepCheck = { deepCheck: { enabled: true } };
const gpu = (key: string) => ({ [key]: { gpu: { enabled: true } } });
const policies = { networkPolicy: { enabled: true } };
const closed = { networkPolicy: { enabled: true, allowExternalEgress: false } };
const route = { httpRoute: { enabled: true, parentRefs: [{ name: 'gateway' }] } };
const score = { jobs: { score: { enabled: true, existingClaim: 'files' } } };
const backtest = {
  jobs: { backtest: { enabled: true, prometheus: 'http://p:9090', query: 'up' } },
};
const exported = { jobs: { stateExport: { enabled: true, existingClaim: 'backup' } } };
const report = { jobs: { report: { enabled: true, prometheus: 'http://p:9090' } } };
const models = (key: string) => ({
  [key]: { enabled: true, model: { source: 'configMap', name: 'models' } },
});

/** What must be set for values below a path to matter; the longest path that fits. */
const CONTEXTS: Record<string, Values> = {
  'global.storageClass': edge,
  'auth.externalSecret': { auth: { externalSecret: store } },
  'auth.externalSecret.enabled': { auth: { externalSecret: { ...store, enabled: false } } },
  tls,
  'tls.caKey': merged(tls, monitors),
  'tls.enabled': { tls: { existingSecret: 'tls' } },
  secretEnv,
  'secretEnv.create': { secretEnv: { stringData: { A: 'b' } } },
  'secretEnv.existingSecret': {},
  'kafka.replication': brokers,
  'kafka.tls': kafkaTls,
  'kafka.tls.certKey': merged(kafkaTls, { kafka: { tls: { keyKey: 'k.pem' } } }),
  'kafka.tls.enabled': brokers,
  'kafka.sasl': sasl,
  'kafka.sasl.mechanism': sasl,
  redis,
  'redis.tls': outerRedis,
  'redis.tls.caKey': merged(outerRedis, { redis: { tls: { existingSecret: 'redis-ca' } } }),
  'redis.address': {},
  'redis.sentinels': {},
  'redis.master': { redis: { sentinels: ['s:26379'] } },
  'redis.tls.enabled': { redis: { address: 'r:6379' } },
  'redis.development.enabled': {},
  'redis.development.tls': redisTls,
  'redis.development.tls.existingSecret': redis,
  'redis.development.persistence': merged(redis, {
    redis: { development: { persistence: { enabled: true } } },
  }),
  'redis.development.persistence.enabled': redis,
  'defaults.service': balancer,
  'defaults.service.type': {},
  'defaults.autoscaling': merged(hpa, keda),
  'defaults.autoscaling.type': { api: { autoscaling: { type: 'none' } } },
  'defaults.vpa': { defaults: { vpa: { enabled: true } } },
  'defaults.vpa.enabled': {},
  'defaults.pdb': { defaults: { pdb: { enabled: true } } },
  'defaults.pdb.enabled': {},
  'defaults.networkPolicy': policies,
  'api.replicas': redis,
  deepCheck,
  'deepCheck.enabled': {},
  'deepCheck.remoteUrl': { deepCheck: { enabled: true, runtime: 'remote', remoteUrl: 'http://o' } },
  'deepCheck.model': models('deepCheck'),
  'deepCheck.model.source': { deepCheck: { enabled: true, model: { name: 'models' } } },
  'deepCheck.gpu': merged(deepCheck, gpu('deepCheck')),
  'deepCheck.gpu.enabled': deepCheck,
  inference: { inference: { enabled: true } },
  'inference.enabled': {},
  'inference.model': models('inference'),
  'inference.model.source': { inference: { enabled: true, model: { name: 'models' } } },
  'inference.gpu': merged({ inference: { enabled: true } }, gpu('inference')),
  'inference.gpu.enabled': { inference: { enabled: true } },
  edge,
  'edge.backfill': backfill,
  'edge.backfill.enabled': merged(backfill, { edge: { backfill: { enabled: false } } }),
  'edge.backfill.tokenKey': merged(backfill, { edge: { backfill: { existingSecret: 'prom' } } }),
  task,
  'task.schedule': nightly,
  'task.gpu': merged(task, gpu('task')),
  'task.gpu.enabled': task,
  jobDefaults: task,
  'jobDefaults.concurrencyPolicy': nightly,
  'jobDefaults.failedJobsHistoryLimit': nightly,
  'jobDefaults.successfulJobsHistoryLimit': nightly,
  'jobDefaults.startingDeadlineSeconds': nightly,
  'jobDefaults.suspend': nightly,
  'jobDefaults.timeZone': nightly,
  'jobs.score': score,
  'jobs.score.enabled': { jobs: { score: { existingClaim: 'files' } } },
  'jobs.backtest': backtest,
  'jobs.backtest.enabled': merged(backtest, { jobs: { backtest: { enabled: false } } }),
  'jobs.stateExport': exported,
  'jobs.stateExport.enabled': { jobs: { stateExport: { existingClaim: 'backup' } } },
  'jobs.report': report,
  'jobs.report.enabled': { jobs: { report: { prometheus: 'http://p:9090' } } },
  ingress: { ingress: { enabled: true } },
  'ingress.enabled': {},
  'ingress.tls': ingressTls,
  'ingress.tls.enabled': { ingress: { enabled: true } },
  httpRoute: route,
  'httpRoute.enabled': { httpRoute: { parentRefs: [{ name: 'gateway' }] } },
  networkPolicy: closed,
  'networkPolicy.enabled': {},
  'networkPolicy.allowExternalEgress': policies,
  'networkPolicy.from': policies,
  'monitoring.force': { monitoring: { serviceMonitor: { enabled: true } } },
  'monitoring.serviceMonitor': monitors,
  'monitoring.serviceMonitor.enabled': { monitoring: { force: true } },
  'monitoring.podMonitor': pods,
  'monitoring.podMonitor.enabled': { monitoring: { force: true } },
  'monitoring.rules': { monitoring: { force: true, rules: { enabled: true } } },
  'monitoring.rules.enabled': { monitoring: { force: true } },
  'monitoring.dashboards': board,
  'monitoring.dashboards.enabled': {},
  resourceQuota: { resourceQuota: { enabled: true } },
  'resourceQuota.enabled': {},
  limitRange: { limitRange: { enabled: true } },
  'limitRange.enabled': {},
};

const volume = { name: 'more', emptyDir: {} };
const container = { name: 'beside', image: 'busybox:1.36' };
const peer = { namespaceSelector: { matchLabels: { team: 'away' } } };
const selector = { away: 'yes' };

/** Values that their default does not suggest, by the end of their path; with what is shown of them. */
const VALUES: readonly [path: RegExp, value: unknown, shows?: string][] = [
  [/^mode$/, 'edge', 'embedded'],
  [/^monitoring\.annotations$/, true, 'prometheus.io/scrape'],
  [/^defaults\.resources$/, { limits: { cpu: '123m' } }, '123m'],
  [/^redis\.development\.password$/, 'Q7'.repeat(20), 'UTdRN1E3'],
  [/^jobs\.stateExport\.keep$/, 8, 'slice(8)'],
  [/^partitions$/, 16],
  // The next ones are taken by metricsPort.
  [/^containerPort$|^defaults\.service\.port$/, 8290],
  [/^kafka\.replication$/, 2, 'replication: 2'],
  [/^global\.imagePullSecrets$|^image\.pullSecrets$/, ['away-pull']],
  [/^global\.openshift$/, 'always', 'runAsNonRoot'],
  [/^global\.version$/, '9.8.7'],
  [/digest$/, `sha256:${'a'.repeat(64)}`],
  [/^image\.variant$/, 'heavy', '-heavy'],
  [/pullPolicy$/, 'Always'],
  [/^configReload$/, 'manual', 'checksum/auth'],
  [/^listenHost$/, '[::]'],
  [/\.config$|^config$/, { ingest: { maxSeries: 4321 } }, '4321'],
  [/^auth\.(write|read|admin)Token$/, 'Q7'.repeat(20), 'UTdRN1E3'],
  [/^auth\.enabled$/, false, 'mode: none'],
  [/^auth\.open$/, ['read'], '- read'],
  [/^auth\.credentials$/, [{ name: 'away', tokenFile: '/x', allow: ['read'] }], 'name: away'],
  [/storeKind$/, 'ClusterSecretStore'],
  [/secretEnv\.data$/, { AWAY: 'YXdheQ==' }, 'YXdheQ=='],
  [/secretEnv\.stringData$/, { AWAY: 'yes-it-is' }, 'yes-it-is'],
  [/^secretEnv\.immutable$/, true, 'immutable: true'],
  [/^kafka\.brokers$/, ['away:9092']],
  [/^kafka\.sasl\.mechanism$/, 'scram-sha-256'],
  [/sentinels$/, ['away:26379']],
  [/^redis\.address$/, 'away:6379'],
  [/tag$/, '1.2.3-away'],
  [/^image\.tag$/, '1.2.3-away'],
  [/heap$/, '300m'],
  [/^defaults\.image$/, { tag: '1.2.3-away' }, '1.2.3-away'],
  [/\.resources$/, { requests: { cpu: '123m' } }, '123m'],
  [/Size$|\.size$/, '77Gi'],
  [/accessModes$/, ['ReadWriteOncePod']],
  [/whenDeleted$|whenScaled$/, 'Delete'],
  [/^serviceAccount\.create$/, false, 'serviceAccountName: default'],
  [/\.env$/, { AWAY: 'yes-it-is' }, 'yes-it-is'],
  [/envFrom$/, [{ configMapRef: { name: 'away' } }], 'name: away'],
  [/antiAffinity$/, 'hard', 'requiredDuringScheduling'],
  [/whenUnsatisfiable$/, 'DoNotSchedule'],
  [/\.affinity$/, { nodeAffinity: { away: true } }, 'away: true'],
  [/podSecurityContext$/, { runAsUser: 4242 }, '4242'],
  [/securityContext$/, { procMount: 'Default' }, 'procMount'],
  [/extraVolumes$/, [volume], 'name: more'],
  [/extraVolumeMounts$/, [{ name: 'more', mountPath: '/more' }], '/more'],
  [/extraContainers$|initContainers$/, [container], 'name: beside'],
  [/updateStrategy$/, { type: 'OnDelete' }, 'OnDelete'],
  [/service\.type$/, 'NodePort'],
  [/nodePort$/, 30_123],
  [/loadBalancerSourceRanges$/, ['10.1.0.0/16']],
  [/externalTrafficPolicy$/, 'Local'],
  [/trafficDistribution$/, 'PreferClose'],
  [/autoscaling\.type$/, 'hpa', 'HorizontalPodAutoscaler'],
  [/autoscaling\.metrics$/, [{ type: 'Pods', away: 1 }], 'away: 1'],
  [/autoscaling\.behavior$/, { scaleUp: { away: 1 } }, 'away: 1'],
  [/autoscaling\.memory$/, 66],
  [/updateMode$/, 'Recreate'],
  [/minAllowed$|maxAllowed$/, { cpu: '123m' }, '123m'],
  [/pdb\.enabled$/, true, 'PodDisruptionBudget'],
  [/minAvailable$/, 3, 'minAvailable: 3'],
  [/maxUnavailable$/, '25%'],
  [/(networkPolicy\.from|metricsFrom|dnsTo)$/, [peer], 'team'],
  [/networkPolicy\.(ingress|egress)$/, [{ ports: [{ port: 4141 }] }], '4141'],
  [/dnsPorts$/, [5353], '5353'],
  [/checkpointStore$/, 'volume'],
  [/^deepCheck\.runtime$/, 'wasm'],
  [/remoteUrl$/, 'http://away:8000'],
  [/model\.source$/, 'claim', 'claimName: models'],
  [/prometheus$/, 'http://away:9090'],
  [/^task\.args$/, ['report'], 'report'],
  [/^task\.sharded$/, true, 'JOB_COMPLETION_INDEX'],
  [/activeDeadlineSeconds$/, 4242],
  [/restartPolicy$/, 'OnFailure'],
  [/concurrencyPolicy$/, 'Replace'],
  [/timeZone$/, 'Europe/Berlin'],
  [/(schedule)$/, '11 1 * * *'],
  [/hosts$|hostnames$/, ['away.example.com'], 'away.example.com'],
  [/parentRefs$/, [{ name: 'away' }], 'name: away'],
  [/^monitoring\.rules\.without$/, ['treeline-anomalies'], 'treeline-itself'],
  [/metricRelabelings$/, [{ action: 'labeldrop', regex: 'away' }], 'away'],
  [/(interval|scrapeTimeout|lookback|start|last|refreshInterval)$/, '33m'],
  [/hard$/, { pods: '77' }, '77'],
  [/^limitRange\.limits$/, [{ type: 'Pod', max: { cpu: '77' } }], '77'],
  [/^extraObjects$/, [{ kind: 'Away', metadata: { name: '{{ .Release.Name }}-x' } }], 'rel-x'],
  [/clusterDomain$/, 'away.local'],
  [/command$|args$|extraArgs$/i, ['--away'], '--away'],
  [/(podLabels|labels|annotations|Labels|Annotations|nodeSelector)$/, selector, 'away'],
  [/tolerations$/, [{ key: 'away', operator: 'Exists' }], 'key: away'],
];

export function awayCase({
  path,
  default: byDefault,
}: {
  path: string;
  default: unknown;
}): AwayCase {
  const contexts = Object.keys(CONTEXTS).filter(
    (prefix) => path === prefix || path.startsWith(`${prefix}.`),
  );
  const longest = contexts.sort((a, b) => b.length - a.length)[0];
  const context = longest === undefined ? {} : (CONTEXTS[longest] as Values);
  const found = VALUES.find(([end]) => end.test(path));
  if (found !== undefined) {
    const [, value, shows] = found;
    const shown = shows ?? (Array.isArray(value) ? String(value[0]) : String(value));
    return { path, context, value, shows: shown };
  }
  if (typeof byDefault === 'boolean') {
    const isOn = valueIn(context, path) ?? byDefault;
    return { path, context, value: isOn !== true };
  }
  if (typeof byDefault === 'number') {
    const value = byDefault + 1;
    return {
      path,
      context,
      value,
      shows: path.endsWith('replicas') ? `replicas: ${value}` : String(value),
    };
  }
  return { path, context, value: 'away-value', shows: 'away-value' };
}

/** The context with the value, and without it. */
export function bothOf({ path, context, value }: AwayCase): [without: Values, withIt: Values] {
  return [context, merged(context, valueAt(path, value))];
}

function valueIn(values: Values, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((inner, key) => (inner as Values | undefined)?.[key], values);
}
