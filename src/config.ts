// The settings table: name, type, default, bounds and help of everything a user can set, in one schema. A value comes
// from a flag, else an environment variable, else the YAML file, else the default; every key can be given in each way.
// No role and no adapter ever sees the file, the environment or the command line. What the schema cannot say (selectors,
// settings that belong together) is judged by settings-rules.ts; reading YAML with its places is config-file.ts.

import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { Auth, Tls } from './config-auth.js';
import { Backfill } from './config-backfill.js';
import { DeepCheckSettings } from './config-deep-check.js';
import { Detection } from './config-detection.js';
import { DetectorList } from './config-detectors.js';
import { faultsOf, readFileInto, textValue } from './config-file.js';
import { ForecastList } from './config-forecasts.js';
import { Ingest } from './config-ingest.js';
import { Kafka } from './config-kafka.js';
import { Redis, RemoteWriteTargets } from './config-outputs.js';
import { SourceList } from './config-sources.js';
import { OperatingError } from './errors.js';
import { ALERTMANAGERS_MAX, GAUGE_SERIES_MAX, GAUGE_TOP_K, SCORERS_MAX } from './limits.js';
import { readPodEnvironment } from './pod-service.js';
import { rulesBroken } from './settings-rules.js';

const strict = { additionalProperties: false };
const DURATION = '^[0-9]+(ms|s|m|h|d|w)$';
const SIZE = '^[0-9]+(B|KB|MB|GB|TB)$';
const SHARE_OR_SIZE = '^([1-9][0-9]?%|100%|[0-9]+(B|KB|MB|GB|TB))$';

/** Unless set: what one process likes, and what many can share. */
const EMBEDDED_PARTITIONS = 4;
const KAFKA_PARTITIONS = 64;

export const ROLES = ['receiver', 'scorer', 'deep-check', 'api', 'inference'] as const;
const DEFAULT_ROLES = ['receiver', 'scorer', 'deep-check', 'api'] as const;

const ownListener = (routes: string) =>
  Type.String({
    pattern: '^$|^(.+):[0-9]{1,5}$',
    default: '',
    description: `HOST:PORT that serves ${routes} instead of listen`,
  });

export const Schema = Type.Object(
  {
    listen: Type.String({
      pattern: '^(.+):[0-9]{1,5}$',
      default: '127.0.0.1:8275',
      description: 'Address of the HTTP listener, HOST:PORT; port 0 takes a free one',
    }),
    listenMetrics: ownListener('/metrics and /metrics/anomalies'),
    listenAdmin: ownListener('/-/reload'),
    dataDir: Type.String({
      minLength: 1,
      default: './data',
      description: 'Directory of the embedded log and the learnt state',
    }),
    timezone: Type.String({
      minLength: 1,
      default: 'UTC',
      description: 'Time zone (IANA name) in which hours and weekends are learnt',
    }),
    roles: Type.Array(Type.Union(ROLES.map((role) => Type.Literal(role))), {
      minItems: 1,
      uniqueItems: true,
      default: [...DEFAULT_ROLES],
      description: 'Roles that this process runs',
    }),
    log: Type.Object(
      {
        kind: Type.Union([Type.Literal('embedded'), Type.Literal('kafka')], {
          default: 'embedded',
          description: 'Where samples are logged before they are acknowledged',
        }),
        prefix: Type.String({
          pattern: '^[A-Za-z0-9._-]{1,100}$',
          default: 'treeline',
          description: 'Names of the Kafka topics begin with it, and so do the consumer groups',
        }),
        partitions: Type.Integer({
          minimum: 1,
          maximum: 64,
          default: EMBEDDED_PARTITIONS,
          description: `Partitions of the log, fixed for its life; ${KAFKA_PARTITIONS} unless set when log.kind is kafka`,
        }),
        retentionSize: Type.String({
          pattern: SIZE,
          default: '4GB',
          description: 'Samples kept in the log at most; scored records beyond it are deleted',
        }),
        retentionAge: Type.String({
          pattern: DURATION,
          default: '2d',
          description: 'Scored records older than this are deleted',
        }),
        poison: Type.Union([Type.Literal('stop'), Type.Literal('quarantine')], {
          default: 'stop',
          description:
            'A record that cannot be read: stop its partition until somebody looks, or pass it over',
        }),
        kafka: Kafka,
      },
      strict,
    ),
    ingest: Ingest,
    sources: SourceList,
    detection: Detection,
    detectors: DetectorList,
    deepCheck: DeepCheckSettings,
    forecasts: ForecastList,
    backfill: Backfill,
    gauges: Type.Object(
      {
        scores: Type.Union([Type.Literal('flagged'), Type.Literal('all'), Type.Literal('top-k')], {
          default: 'flagged',
          description: 'Series that have anomaly gauges; top-k: those with the highest scores',
        }),
        topK: Type.Integer({
          minimum: 1,
          maximum: GAUGE_SERIES_MAX,
          default: GAUGE_TOP_K,
          description: 'How many series those of top-k are, in each process',
        }),
        linger: Type.String({
          pattern: DURATION,
          default: '15m',
          description: 'How long a series keeps its gauges, at 0, after its anomaly closed',
        }),
        profile: Type.Union(
          [Type.Literal('default'), Type.Literal('pod-service'), Type.Literal('vmanomaly')],
          {
            default: 'default',
            description:
              'Whose names the gauges have; pod-service: /metrics also shows anomaly_flag and anomaly_score of pods',
          },
        ),
      },
      strict,
    ),
    anomalies: Type.Object(
      {
        retention: Type.String({
          pattern: DURATION,
          default: '90d',
          description: 'Anomalies and incidents that ended longer ago are forgotten',
        }),
      },
      strict,
    ),
    alerts: Type.Object(
      {
        budget: Type.Integer({
          minimum: 0,
          maximum: 1000,
          default: 5,
          description: 'Incidents a day that somebody is notified of, the highest ranked',
        }),
        alertmanagers: Type.Array(Type.String({ pattern: '^https?://[^@]+$' }), {
          maxItems: ALERTMANAGERS_MAX,
          uniqueItems: true,
          default: [],
          description: 'Addresses of the Alertmanagers to notify, each of every incident',
        }),
      },
      strict,
    ),
    api: Type.Object(
      {
        scorers: Type.Array(Type.String({ pattern: '^https?://[^@?#]+$' }), {
          maxItems: SCORERS_MAX,
          uniqueItems: true,
          default: [],
          description:
            'Addresses of the scorers that an api without one asks for series; a name stands for all its addresses',
        }),
        scorersTokenFile: Type.String({
          default: '',
          description:
            'File with the bearer token that the scorers want, read again when it changes',
        }),
      },
      strict,
    ),
    verdicts: Type.Union([Type.Literal('auto'), Type.Literal('on'), Type.Literal('off')], {
      default: 'auto',
      description:
        'Flags and notices wait for a deep check, and series keep the values it looks at; auto: where this process runs one',
    }),
    redis: Redis,
    outputs: Type.Object({ remoteWrite: RemoteWriteTargets }, strict),
    mode: Type.Union([Type.Literal('auto'), Type.Literal('shadow'), Type.Literal('live')], {
      default: 'auto',
      description: 'shadow: notify nobody; auto: shadow for the first 7 days of samples, then live',
    }),
    checkpoint: Type.Object(
      {
        interval: Type.String({
          pattern: DURATION,
          default: '1m',
          description: 'How often the learnt state is saved; a restart replays the log from there',
        }),
        store: Type.Union([Type.Literal('volume'), Type.Literal('topic')], {
          default: 'volume',
          description:
            'Where it is saved: in dataDir, or in a compacted Kafka topic, so that a partition can move to a machine without that volume',
        }),
      },
      strict,
    ),
    limits: Type.Object(
      {
        memory: Type.String({
          pattern: SHARE_OR_SIZE,
          default: '75%',
          description:
            'Memory that series may fill: a size, or a share of what the process may use',
        }),
      },
      strict,
    ),
    auth: Auth,
    tls: Tls,
    tenancy: Type.Union([Type.Literal('off'), Type.Literal('header')], {
      default: 'off',
      description: 'header: every request names its tenant in X-Scope-OrgID and sees only its own',
    }),
    logging: Type.Object(
      {
        level: Type.Union(
          ['debug', 'info', 'warn', 'error'].map((level) => Type.Literal(level)),
          { default: 'info', description: 'Least severe lines to write' },
        ),
        format: Type.Union([Type.Literal('text'), Type.Literal('json')], {
          default: 'text',
          description: 'text: one readable line; json: one object a line',
        }),
      },
      strict,
    ),
  },
  strict,
);

export type Settings = Static<typeof Schema>;

export interface SettingRow {
  key: string;
  flag: string;
  variable: string;
  schema: TSchema;
}

/** Every setting, flat, in the order of the schema. */
export const SETTINGS: readonly SettingRow[] = rows(Schema, []);

/** What a reload puts into force; everything else waits for a restart, and a reload says so. */
export const RELOADABLE: ReadonlySet<string> = new Set([
  'ingest.keep',
  'ingest.drop',
  'ingest.stripLabels',
  'ingest.replicas',
  'ingest.clusterLabel',
  'ingest.replicaLabel',
  'sources',
  'detection.rules',
  'gauges.linger',
  'alerts.budget',
  'mode',
  'auth.mode',
  'auth.credentials',
  'auth.open',
  'tls.certFile',
  'tls.keyFile',
  'logging.level',
]);

export interface SettingSources {
  file?: { name: string; text: string };
  environment?: Readonly<Record<string, string | undefined>>;
  /** Flag name without dashes (`log-partitions`) → its text. */
  flags?: Readonly<Record<string, string>>;
}

export interface SourcedSettings {
  settings: Settings;
  /** Key → `default`, `treeline.yaml:3:5`, `TREELINE_LISTEN` or `--listen`. */
  sources: ReadonlyMap<string, string>;
}

/** Rejects with `config_invalid` and one line per fault. */
export function loadSettings(sources: SettingSources): Settings {
  return readSettings(sources).settings;
}

/** The same, with where each value came from. */
export function readSettings(from: SettingSources): SourcedSettings {
  const faults: string[] = [];
  const settings = Value.Create(Schema) as Record<string, unknown>;
  const sources = new Map(SETTINGS.map(({ key }) => [key, 'default']));
  if (from.file !== undefined) {
    readFileInto(settings, from.file, { schema: Schema, rows: SETTINGS, sources, faults });
  }
  for (const row of SETTINGS) {
    const flag = from.flags?.[row.flag];
    const text = flag ?? from.environment?.[row.variable];
    if (text === undefined) continue;
    const source = flag === undefined ? row.variable : `--${row.flag}`;
    readTextInto(settings, row, { text, source, faults });
    sources.set(row.key, source);
  }
  readPodEnvironment(settings, from.environment ?? {}, { rows: SETTINGS, sources, faults });
  const { log } = settings as Settings;
  if (log.kind === 'kafka' && sources.get('log.partitions') === 'default') {
    log.partitions = KAFKA_PARTITIONS;
    sources.set('log.partitions', 'default of log.kind kafka');
  }
  if (faults.length === 0) {
    for (const { key, message } of rulesBroken(settings as Settings)) {
      const source = sources.get(key);
      faults.push(source === undefined || source === 'default' ? message : `${source}: ${message}`);
    }
  }
  if (faults.length > 0) throw new OperatingError('config_invalid', faults.join('\n'));
  return { settings: settings as Settings, sources };
}

/** The value of a dotted key. */
export function settingAt(settings: Settings, key: string): unknown {
  let value: unknown = settings;
  for (const part of key.split('.')) value = (value as Record<string, unknown>)[part];
  return value;
}

/** Milliseconds of `90s`, `15m`, `2d`. */
export function durationMs(text: string): number {
  const unit = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };
  return Number.parseInt(text, 10) * unit[text.replace(/^[0-9]+/, '') as keyof typeof unit];
}

/** Bytes of `900KB`, `4GB`; decimal units, as disks are sold. */
export function sizeBytes(text: string): number {
  const unit = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
  return Number.parseInt(text, 10) * unit[text.replace(/^[0-9]+/, '') as keyof typeof unit];
}

function rows(schema: TSchema, path: readonly string[]): SettingRow[] {
  if (schema['properties'] === undefined) {
    const words = path.flatMap((part) => part.split(/(?=[A-Z])/)).map((word) => word.toLowerCase());
    const variable = `TREELINE_${words.join('_').toUpperCase()}`;
    return [{ key: path.join('.'), flag: words.join('-'), variable, schema }];
  }
  const properties = schema['properties'] as Record<string, TSchema>;
  return Object.entries(properties).flatMap(([name, inner]) => rows(inner, [...path, name]));
}

function readTextInto(
  settings: Record<string, unknown>,
  row: SettingRow,
  { text, source, faults }: { text: string; source: string; faults: string[] },
): void {
  const value = textValue(row.schema, text);
  const found = faultsOf(row.schema, value);
  if (found.length > 0) {
    for (const { path, message } of found) faults.push(`${source}${path}: ${message}`);
    return;
  }
  const path = row.key.split('.');
  let into = settings;
  for (const part of path.slice(0, -1)) into = into[part] as Record<string, unknown>;
  into[path.at(-1) as string] = value;
}
