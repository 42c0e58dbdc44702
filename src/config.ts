// The settings table: name, type, default, bounds and help of everything a user can set, in one schema. A value comes
// from a flag, else an environment variable, else the YAML file, else the default; every key can be given in each way.
// The file is read once, here; no role and no adapter ever sees it, the environment or the command line.

import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { LineCounter, parse, parseDocument } from 'yaml';
import { OperatingError } from './errors.js';

const strict = { additionalProperties: false };
const DURATION = '^[0-9]+(ms|s|m|h|d|w)$';
const SIZE = '^[0-9]+(B|KB|MB|GB|TB)$';

const ROLES = ['receiver', 'scorer', 'api'] as const;

export const Schema = Type.Object(
  {
    listen: Type.String({
      pattern: '^(.+):[0-9]{1,5}$',
      default: '127.0.0.1:8275',
      description: 'Address of the HTTP listener, HOST:PORT; port 0 takes a free one',
    }),
    dataDir: Type.String({
      minLength: 1,
      default: './data',
      description: 'Directory of the embedded log and the learnt state',
    }),
    roles: Type.Array(Type.Union(ROLES.map((role) => Type.Literal(role))), {
      minItems: 1,
      uniqueItems: true,
      default: [...ROLES],
      description: 'Roles that this process runs',
    }),
    log: Type.Object(
      {
        kind: Type.Union([Type.Literal('embedded')], {
          default: 'embedded',
          description: 'Where samples are logged before they are acknowledged',
        }),
        partitions: Type.Integer({
          minimum: 1,
          maximum: 64,
          default: 4,
          description: 'Partitions of the log, fixed for its life',
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
      },
      strict,
    ),
    ingest: Type.Object(
      {
        partitionBy: Type.Array(Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }), {
          minItems: 1,
          maxItems: 8,
          default: [['namespace', 'pod'], ['instance']],
          description: 'Label sets; the first whose labels are all present decides the partition',
        }),
        stripLabels: Type.Array(Type.String({ minLength: 1 }), {
          maxItems: 16,
          default: [],
          description: 'Labels removed on arrival; they do not tell series apart',
        }),
      },
      strict,
    ),
    gauges: Type.Object(
      {
        scores: Type.Union([Type.Literal('flagged'), Type.Literal('all')], {
          default: 'flagged',
          description: 'Series that have anomaly gauges',
        }),
        linger: Type.String({
          pattern: DURATION,
          default: '15m',
          description: 'How long a series keeps its gauges, at 0, after its anomaly closed',
        }),
      },
      strict,
    ),
    checkpoint: Type.Object(
      {
        interval: Type.String({
          pattern: DURATION,
          default: '1m',
          description: 'How often the learnt state is saved; a restart replays the log from there',
        }),
      },
      strict,
    ),
    limits: Type.Object(
      {
        series: Type.Integer({
          minimum: 1,
          maximum: 2_000_000,
          default: 200_000,
          description: 'Series scored per partition at most; samples of further ones are refused',
        }),
      },
      strict,
    ),
    auth: Type.Object(
      {
        mode: Type.Union([Type.Literal('loopback'), Type.Literal('none')], {
          default: 'loopback',
          description: 'none: let anybody in who can reach a listener that is not on loopback',
        }),
      },
      strict,
    ),
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

export interface SettingSources {
  file?: { name: string; text: string };
  environment?: Readonly<Record<string, string | undefined>>;
  /** Flag name without dashes (`log-partitions`) → its text. */
  flags?: Readonly<Record<string, string>>;
}

/** Rejects with `config_invalid` and one line per fault. */
export function loadSettings(sources: SettingSources): Settings {
  const faults: string[] = [];
  const settings = Value.Create(Schema) as Record<string, unknown>;
  if (sources.file !== undefined) readFileInto(settings, sources.file, faults);
  for (const row of SETTINGS) {
    const flag = sources.flags?.[row.flag];
    const variable = sources.environment?.[row.variable];
    if (flag !== undefined) readTextInto(settings, row, flag, `--${row.flag}`, faults);
    else if (variable !== undefined) readTextInto(settings, row, variable, row.variable, faults);
  }
  if (faults.length === 0 && !isGuarded(settings as Settings)) {
    faults.push(
      `listen: ${JSON.stringify(settings['listen'])} is reachable from other machines and no ` +
        'authentication is configured; listen on 127.0.0.1, or write "auth.mode: none" to let everybody in',
    );
  }
  if (faults.length > 0) throw new OperatingError('config_invalid', faults.join('\n'));
  return settings as Settings;
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

export function listenAddress(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host, port: Number(listen.slice(colon + 1)) };
}

function isGuarded(settings: Settings): boolean {
  const { host } = listenAddress(settings.listen);
  return (
    settings.auth.mode === 'none' ||
    /^127\.[0-9]+\.[0-9]+\.[0-9]+$/.test(host) ||
    host === '::1' ||
    host === 'localhost'
  );
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

function readFileInto(
  settings: Record<string, unknown>,
  file: { name: string; text: string },
  faults: string[],
): void {
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, prettyErrors: false });
  const place = (at: number | undefined): string => {
    const { line, col } = lines.linePos(at ?? 0);
    return `${file.name}:${line}:${col}`;
  };
  for (const error of document.errors) faults.push(`${place(error.pos[0])}: ${error.message}`);
  if (document.errors.length > 0) return;
  const written: unknown = document.toJS();
  if (written === null || written === undefined) return;
  if (!isRecord(written)) {
    faults.push(`${place(0)}: the file must hold settings (key: value), not ${describe(written)}`);
    return;
  }
  const nodeAt = (path: string[]): number | undefined => {
    const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
    const pairs = (parent as { items?: { key: { value?: unknown; range?: number[] } }[] }).items;
    return pairs?.find(({ key }) => key.value === path.at(-1))?.key.range?.[0];
  };
  merge(settings, written, Schema, [], (path, message) => {
    faults.push(`${place(nodeAt(path))}: ${message}`);
  });
}

function merge(
  into: Record<string, unknown>,
  written: Record<string, unknown>,
  schema: TSchema,
  path: string[],
  fault: (path: string[], message: string) => void,
): void {
  const properties = schema['properties'] as Record<string, TSchema>;
  for (const [name, value] of Object.entries(written)) {
    const here = [...path, name];
    const inner = properties[name];
    if (inner === undefined) {
      fault(
        here,
        `unknown key ${JSON.stringify(here.join('.'))}${didYouMean(name, properties, path)}`,
      );
    } else if (inner['properties'] === undefined) {
      const problem = check(inner, value);
      if (problem === undefined) into[name] = value;
      else fault(here, `${here.join('.')}: ${problem}`);
    } else if (isRecord(value)) {
      merge(into[name] as Record<string, unknown>, value, inner, here, fault);
    } else if (value !== null) {
      fault(here, `${here.join('.')}: expected settings below it, found ${describe(value)}`);
    }
  }
}

function readTextInto(
  settings: Record<string, unknown>,
  row: SettingRow,
  text: string,
  source: string,
  faults: string[],
): void {
  const value = textValue(row.schema, text);
  const problem = check(row.schema, value);
  if (problem !== undefined) {
    faults.push(`${source}: ${problem}`);
    return;
  }
  const path = row.key.split('.');
  let into = settings;
  for (const part of path.slice(0, -1)) into = into[part] as Record<string, unknown>;
  into[path.at(-1) as string] = value;
}

/** Text of a flag or variable as a value: lists are comma-separated or YAML, the rest is what YAML reads. */
function textValue(schema: TSchema, text: string): unknown {
  if (schema['type'] === 'string') return text;
  const isList = schema['type'] === 'array';
  if (isList && !text.trimStart().startsWith('['))
    return text.split(',').map((part) => part.trim());
  try {
    return parse(text) as unknown;
  } catch {
    return text; // not YAML: the check that follows names it as it was written
  }
}

function check(schema: TSchema, value: unknown): string | undefined {
  const error = Value.Errors(schema, value).First();
  if (error === undefined) return undefined;
  const choices = (schema['anyOf'] ?? schema['items']?.['anyOf']) as
    | { const: string }[]
    | undefined;
  if (choices !== undefined) {
    const wanted = choices.map((choice) => choice.const).join(', ');
    return `expected ${schema['items'] === undefined ? 'one' : 'some'} of ${wanted}, found ${describe(value)}`;
  }
  const example =
    typeof schema['default'] === 'string' ? ` (for example ${schema['default']})` : '';
  return `${error.message.toLowerCase()}${example}, found ${describe(value)}`;
}

function didYouMean(name: string, properties: Record<string, TSchema>, path: string[]): string {
  const here = Object.keys(properties).map((key) => [...path, key].join('.'));
  const near = [...here, ...SETTINGS.map((row) => row.key)]
    .map((key) => ({ key, steps: distance(name, key.split('.').at(-1) as string) }))
    .sort((a, b) => a.steps - b.steps)[0];
  if (near !== undefined && near.steps <= Math.max(2, name.length / 3)) {
    return `; did you mean ${JSON.stringify(near.key)}?`;
  }
  return `; known here: ${here.join(', ')}`;
}

/** Levenshtein distance, case ignored. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1]?.toLowerCase() === b[j - 1]?.toLowerCase();
      next.push(
        Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 80) ?? String(value);
}
