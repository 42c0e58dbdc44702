// The JSON Schema of the chart's values (draft 7, which Helm reads), made from values.yaml: the type of a value is that of
// its default, and what a default does not show stands in SHAPES. Nothing that is not listed is allowed, so that a
// misspelt key is refused by name. `config` takes the settings of Treeline itself, without those that the chart decides.

import { Schema } from '../config.js';
import { type ChartGroup, type ChartValue, isGroup } from './values-file.js';

export type Fragment = Record<string, unknown>;

const COMPONENTS = ['receiver', 'scorer', 'api', 'deepCheck', 'inference', 'edge'];
/** Settings that the chart computes from its own values. */
const OWNED = [
  'listen',
  'listenMetrics',
  'dataDir',
  'roles',
  'log.kind',
  'log.prefix',
  'log.kafka',
  'auth',
  'tls',
  'api.scorers',
  'api.scorersTokenFile',
];

const oneOf = (...values: unknown[]): Fragment => ({ enum: values });
const orNull = (fragment: Fragment): Fragment => ({
  ...fragment,
  type: [fragment['type'], 'null'],
});
const text = (pattern: string): Fragment => ({ type: 'string', pattern });
const texts: Fragment = { type: 'array', items: { type: 'string', minLength: 1 } };
const objects: Fragment = { type: 'array', items: { type: 'object' } };
const open: Fragment = { type: 'object' };
const labels: Fragment = { type: 'object', additionalProperties: { type: 'string' } };
const amount: Fragment = { type: ['string', 'integer', 'number'] };
const amounts: Fragment = { type: 'object', additionalProperties: amount };
const integer = (minimum: number, maximum: number): Fragment => ({
  type: 'integer',
  minimum,
  maximum,
});
const port = integer(1, 65_535);
const count = integer(0, 1_000_000_000);
const size = text('^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$');
const duration = text('^([0-9]+(ms|s|m|h|d|w|y))+$');
const name = text('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$');
const cron = text('^(@[a-z]+|\\S+ \\S+ \\S+ \\S+ \\S+)$');

const strict = (properties: Fragment): Fragment => ({
  type: 'object',
  additionalProperties: false,
  properties,
});

const image = strict({
  registry: { type: 'string' },
  repository: { type: 'string', minLength: 1 },
  tag: { type: 'string' },
  digest: text('^(sha256:[0-9a-f]{64})?$'),
  variant: oneOf('light', 'heavy'),
  pullPolicy: oneOf('IfNotPresent', 'Always', 'Never'),
});

/** What a default does not show, by the end of the path; the first that fits. */
const SHAPES: readonly [path: RegExp, fragment: Fragment][] = [
  [/^mode$/, oneOf('cluster', 'edge')],
  [/^workloadType$/, oneOf('deployment', 'job', 'cronjob')],
  [/^partitions$/, orNull(integer(1, 64))],
  [/^configReload$/, oneOf('rollout', 'manual')],
  [/^containerPort$|service\.port$/, port],
  [/service\.nodePort$|^metricsPort$/, orNull(port)],
  [/^(nameOverride|fullnameOverride)$/, name],
  [/(Secret|existingClaim|serviceAccount\.name|model\.name|secretName)$/, name],
  [/^global\.openshift$/, oneOf('auto', 'always', 'never')],
  [/imagePullSecrets$|pullSecrets$/, texts],
  [/^defaults\.image$/, image],
  [/variant$/, oneOf('light', 'heavy')],
  [/digest$/, text('^(sha256:[0-9a-f]{64})?$')],
  [/pullPolicy$/, oneOf('IfNotPresent', 'Always', 'Never')],
  [/^auth\.open$/, { type: 'array', uniqueItems: true, items: oneOf('write', 'read', 'admin') }],
  [/storeKind$/, oneOf('SecretStore', 'ClusterSecretStore')],
  [/^auth\.credentials$/, objects],
  [
    /^kafka\.brokers$|^redis\.sentinels$/,
    { type: 'array', uniqueItems: true, items: text('^[^\\s,/]+:[0-9]{1,5}$') },
  ],
  [/^(kafka|redis)\.prefix$/, text('^[A-Za-z0-9._-]{0,100}$')],
  [/^kafka\.replication$/, integer(1, 7)],
  [/sasl\.mechanism$/, oneOf('none', 'plain', 'scram-sha-256', 'scram-sha-512')],
  [/(kafka\.development|pdb)\.enabled$/, oneOf('auto', true, false)],
  [/heap$/, text('^[0-9]+[kmg]$')],
  [/userId$/, integer(1, 2_147_483_647)],
  [/^redis\.address$/, text('^([^\\s,/@]+:[0-9]{1,5})?$')],
  [/remoteUrl$|prometheus$/, text('^(https?://\\S+)?$')],
  [/secretEnv\.stringData$/, { type: 'object', additionalProperties: { type: 'string' } }],
  [
    /secretEnv\.data$/,
    { type: 'object', additionalProperties: text('^[A-Za-z0-9+/\\s]*={0,2}\\s*$') },
  ],
  [
    /\.env$/,
    { type: 'object', additionalProperties: { type: ['string', 'number', 'boolean', 'object'] } },
  ],
  [/resources$/, strict({ requests: amounts, limits: amounts, claims: objects })],
  [/(minAllowed|maxAllowed|hard)$/, amounts],
  [/size$/, size],
  [/accessModes$/, { ...texts, minItems: 1 }],
  [/whenDeleted$|whenScaled$/, oneOf('Retain', 'Delete')],
  [/checkpointStore$/, oneOf('topic', 'volume')],
  [/antiAffinity$/, oneOf('soft', 'hard', 'none')],
  [/maxSkew$/, integer(1, 100)],
  [/whenUnsatisfiable$/, oneOf('ScheduleAnyway', 'DoNotSchedule')],
  [/(ecurityContext|updateStrategy|\.affinity|behavior)$/, open],
  [/service\.type$/, oneOf('ClusterIP', 'NodePort', 'LoadBalancer')],
  [/externalTrafficPolicy$/, oneOf('', 'Cluster', 'Local')],
  [/trafficDistribution$/, oneOf('', 'PreferClose', 'PreferSameZone', 'PreferSameNode')],
  [/autoscaling\.type$/, oneOf('none', 'hpa', 'keda')],
  [/autoscaling\.(cpu|memory)$/, orNull(integer(1, 1000))],
  [/autoscaling\.maxReplicas$/, integer(1, 1000)],
  [/updateMode$/, oneOf('Off', 'Initial', 'Recreate', 'Auto')],
  [/(maxUnavailable|minAvailable)$/, { type: ['integer', 'string', 'null'] }],
  [/runtime$/, oneOf('auto', 'native', 'wasm', 'remote', 'none')],
  [/model\.source$/, oneOf('image', 'configMap', 'claim')],
  [/gpu\.count$|completions$|parallelism$|keep$/, integer(1, 100_000)],
  [/schedule$/, cron],
  [/activeDeadlineSeconds$/, orNull(integer(1, 31_536_000))],
  [/restartPolicy$/, oneOf('Never', 'OnFailure')],
  [/concurrencyPolicy$/, oneOf('Allow', 'Forbid', 'Replace')],
  [
    /Seconds$|Period$|SecondsAfterFinished$|pollingInterval$|revisionHistoryLimit$|failureThreshold$|Limit$/,
    count,
  ],
  [/(interval|scrapeTimeout|lookback|start|last|refreshInterval)$/, duration],
  [/dnsPorts$/, { type: 'array', items: port }],
  [/replicas$|Replicas$|partition$/, integer(0, 1000)],
  [/(labels|annotations|Labels|Annotations|nodeSelector)$/, labels],
  [/^extraObjects$/, { type: 'array', items: { type: ['object', 'string'] } }],
  [
    /(tolerations|Volumes|VolumeMounts|Containers|envFrom|metrics|from|metricsFrom|ingress|egress|Relabelings|parentRefs|dnsTo|limits)$/,
    objects,
  ],
];

export function valuesSchema(values: ChartGroup): Fragment {
  const { properties } = schemaOf(values) as { properties: Record<string, Fragment> };
  const inherited = (keys: readonly string[]): Fragment =>
    Object.assign({}, ...keys.map((key) => references(properties, key)));
  const withInherited = (fragment: Fragment | undefined, keys: readonly string[]): Fragment => ({
    ...fragment,
    properties: { ...inherited(keys), ...(fragment?.['properties'] as Fragment) },
  });
  for (const key of COMPONENTS) {
    properties[key] = withInherited(properties[key], ['defaults']);
  }
  properties['task'] = withInherited(properties['task'], ['defaults', 'jobDefaults']);
  const jobs = properties['jobs']?.['properties'] as Record<string, Fragment>;
  for (const key of Object.keys(jobs)) {
    jobs[key] = withInherited(jobs[key], ['defaults', 'jobDefaults']);
  }
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the Treeline chart',
    ...strict(properties),
  };
}

function schemaOf(group: ChartGroup): Fragment {
  const properties: Fragment = {};
  for (const [key, entry] of group.entries) {
    if (isGroup(entry)) properties[key] = schemaOf(entry);
    else properties[key] = describedShape(entry);
  }
  return strict(properties);
}

/** Draft 7 looks at nothing beside a $ref. */
function describedShape({ path, description, default: value }: ChartValue): Fragment {
  const shape = shapeOf(path, value);
  return '$ref' in shape ? shape : { ...shape, description };
}

function shapeOf(path: string, value: unknown): Fragment {
  if (path === 'config') return settingsSchema();
  if (path.endsWith('.config')) return { $ref: '#/properties/config' };
  if (typeof value === 'boolean') return { type: 'boolean' };
  const shape = SHAPES.find(([end]) => end.test(path))?.[1];
  if (shape !== undefined) return shape;
  if (Array.isArray(value)) return texts;
  if (typeof value === 'number') return count;
  if (typeof value === 'string') return { type: 'string' };
  throw new Error(`SHAPES does not say what ${path} may be`);
}

function references(properties: Record<string, Fragment>, key: string): Fragment {
  const keys = Object.keys((properties[key] as { properties: Fragment }).properties);
  return Object.fromEntries(
    keys.map((inner) => [inner, { $ref: `#/properties/${key}/properties/${inner}` }]),
  );
}

/** Treeline's own settings, none of them required, without those that the chart decides. */
function settingsSchema(): Fragment {
  const schema = loosened(JSON.parse(JSON.stringify(Schema))) as Fragment;
  for (const path of OWNED) remove(schema, path.split('.'));
  return schema;
}

function remove(schema: Fragment, [first, ...rest]: readonly string[]): void {
  const properties = schema['properties'] as Record<string, Fragment>;
  if (rest.length > 0) remove(properties[first as string] as Fragment, rest);
  else delete properties[first as string];
}

/** Without `required` and defaults, and with `enum` in place of alternatives of one constant each: better messages. */
function loosened(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(loosened);
  if (typeof node !== 'object' || node === null) return node;
  const { required: _required, default: _default, ...rest } = node as Fragment;
  const alternatives = rest['anyOf'] as Fragment[] | undefined;
  if (alternatives?.every((one) => 'const' in one) === true) {
    const { anyOf: _anyOf, type: _type, ...others } = rest;
    return { ...others, enum: alternatives.map((one) => one['const']) };
  }
  return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, loosened(value)]));
}
