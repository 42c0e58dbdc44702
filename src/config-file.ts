// Reads the settings file: YAML to values, every fault with the line and column where it stands and the nearest key that
// exists. Knows nothing of any single setting; the schema is handed in. A key may be nested or written with dots
// (`auth.mode: none`), as messages and documents write it.

import type { TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parse,
  parseDocument,
} from 'yaml';
import { CONFIG_CHARACTERS_MAX } from './limits.js';

interface Fault {
  /** Below the setting: `[0].tokenFile`, or empty. */
  path: string;
  message: string;
}

interface Reading {
  schema: TSchema;
  rows: readonly { key: string }[];
  /** Key → place, for each key that the file sets. */
  sources: Map<string, string>;
  /** Lines `file:line:column: what is wrong`. */
  faults: string[];
}

type Path = readonly (string | number)[];

export function readFileInto(
  settings: Record<string, unknown>,
  file: { name: string; text: string },
  reading: Reading,
): void {
  const { faults } = reading;
  if (file.text.length > CONFIG_CHARACTERS_MAX) {
    faults.push(`${file.name}: the file has more than ${CONFIG_CHARACTERS_MAX} characters`);
    return;
  }
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, prettyErrors: false });
  const place = (at: number): string => {
    const { line, col } = lines.linePos(at);
    return `${file.name}:${line}:${col}`;
  };
  for (const error of document.errors) faults.push(`${place(error.pos[0])}: ${error.message}`);
  if (document.errors.length > 0) return;
  let written: unknown;
  try {
    written = document.toJS();
  } catch (error) {
    // ReferenceError: an alias without an anchor, or so many that resolving them would fill the memory.
    faults.push(`${place(0)}: ${(error as Error).message}`);
    return;
  }
  if (written === null || written === undefined) return;
  if (!isRecord(written)) {
    faults.push(`${place(0)}: the file must hold settings (key: value), not ${describe(written)}`);
    return;
  }
  const merging: Merging = {
    rows: reading.rows,
    set: (key, nodes) => reading.sources.set(key, place(offsetOf(document, nodes))),
    isSet: (key) => reading.sources.get(key) !== 'default',
    fault: (nodes, message) => faults.push(`${place(offsetOf(document, nodes))}: ${message}`),
  };
  merge(settings, written, { schema: reading.schema, key: [], nodes: [] }, merging);
}

interface Merging {
  rows: readonly { key: string }[];
  set: (key: string, nodes: Path) => void;
  isSet: (key: string) => boolean;
  fault: (nodes: Path, message: string) => void;
}

interface Here {
  schema: TSchema;
  /** What the settings call it, and where it stands in the document; with dotted keys they differ. */
  key: readonly string[];
  nodes: Path;
}

function merge(
  into: Record<string, unknown>,
  written: Record<string, unknown>,
  here: Here,
  merging: Merging,
): void {
  const properties = here.schema['properties'] as Record<string, TSchema>;
  for (const [name, value] of Object.entries(written)) {
    const nodes = [...here.nodes, name];
    const [first = '', ...rest] = name.split('.');
    const key = [...here.key, first];
    const schema = Object.hasOwn(properties, first) ? properties[first] : undefined;
    const hasInner = schema?.['properties'] !== undefined;
    if (schema === undefined || (rest.length > 0 && !hasInner)) {
      const full = [...here.key, name].join('.');
      const near = nearestKey(name, here.key, Object.keys(properties), merging.rows);
      merging.fault(nodes, `unknown key ${JSON.stringify(full)}${near}`);
    } else if (hasInner && rest.length > 0) {
      const inner = { schema, key, nodes };
      merge(into[first] as Record<string, unknown>, { [rest.join('.')]: value }, inner, merging);
    } else if (hasInner && isRecord(value)) {
      merge(into[first] as Record<string, unknown>, value, { schema, key, nodes }, merging);
    } else if (hasInner) {
      if (value === null) continue;
      merging.fault(
        nodes,
        `${key.join('.')}: expected settings below it, found ${describe(value)}`,
      );
    } else {
      mergeValue(into, value, { schema, key, nodes }, merging);
    }
  }
}

function mergeValue(
  into: Record<string, unknown>,
  value: unknown,
  { schema, key, nodes }: Here,
  merging: Merging,
): void {
  const name = key.join('.');
  if (merging.isSet(name)) {
    merging.fault(nodes, `${name} is set twice`);
    return;
  }
  const faults = faultsOf(schema, value);
  for (const { path, message } of faults) {
    const below = [...path.matchAll(/\[(\d+)\]|\.([^.[]+)/g)].map(([, index, inner]) =>
      index === undefined ? (inner as string) : Number(index),
    );
    merging.fault([...nodes, ...below], `${name}${path}: ${message}`);
  }
  if (faults.length > 0) return;
  into[key.at(-1) as string] = value;
  merging.set(name, nodes);
}

/** What is wrong with a setting's value, at most one fault for each place in it. Fills in defaults below it. */
export function faultsOf(schema: TSchema, value: unknown, path = ''): Fault[] {
  const items = schema['items'] as TSchema | undefined;
  if (items?.['properties'] !== undefined && Array.isArray(value)) {
    const inner = value.flatMap((one, index) => faultsOf(items, one, `${path}[${index}]`));
    return inner.length > 0 ? inner : outerFault(schema, value, path);
  }
  const properties = schema['properties'] as Record<string, TSchema> | undefined;
  if (properties === undefined || !isRecord(value)) return outerFault(schema, value, path);
  const known = Object.keys(properties);
  const faults: Fault[] = [];
  for (const [name, one] of Object.entries(value)) {
    const inner = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (inner === undefined) {
      const near = nearestKey(name, [], known, []);
      faults.push({ path: `${path}.${name}`, message: `unknown key${near}` });
    } else faults.push(...faultsOf(inner, one, `${path}.${name}`));
  }
  for (const name of (schema['required'] as string[] | undefined) ?? []) {
    if (Object.hasOwn(value, name)) continue;
    const byDefault = properties[name]?.['default'] as unknown;
    if (byDefault === undefined) faults.push({ path, message: `${name} is missing` });
    else value[name] = structuredClone(byDefault);
  }
  return faults;
}

function outerFault(schema: TSchema, value: unknown, path: string): Fault[] {
  const error = Value.Errors(schema, value).First();
  if (error === undefined) return [];
  const choices = (schema['anyOf'] ?? schema['items']?.['anyOf']) as
    | { const: string }[]
    | undefined;
  if (choices !== undefined) {
    const wanted = choices.map((choice) => choice.const).join(', ');
    const how = schema['items'] === undefined ? 'one' : 'some';
    return [{ path, message: `expected ${how} of ${wanted}, found ${describe(value)}` }];
  }
  const byDefault = schema['default'] as unknown;
  const example =
    typeof byDefault === 'string' && byDefault !== '' ? ` (for example ${byDefault})` : '';
  // A pattern alone tells nobody what to write.
  const isPattern = (schema['items'] ?? schema)['pattern'] !== undefined;
  const meaning = isPattern && example === '' ? ` (${schema['description']})` : example;
  const message = `${error.message.toLowerCase()}${meaning}, found ${describe(value)}`;
  return [{ path, message }];
}

/** Text of a flag or variable as a value: lists are comma-separated or YAML, the rest is what YAML reads. */
export function textValue(schema: TSchema, text: string): unknown {
  if (schema['type'] === 'string') return text;
  const isList = schema['type'] === 'array';
  if (isList && !text.trimStart().startsWith('[')) return splitList(text);
  try {
    return parse(text) as unknown;
  } catch {
    return text; // not YAML: the check that follows names it as it was written
  }
}

/** At commas, except within braces and quotes: `{a="1",b="2"}, up` are two selectors. */
function splitList(text: string): string[] {
  if (text.trim() === '') return [];
  const parts: string[] = [];
  let part = '';
  for (const [piece] of text.matchAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\{[^}"']*|[\s\S]/g)) {
    const isInside = part.lastIndexOf('{') > part.lastIndexOf('}');
    if (piece === ',' && !isInside) {
      parts.push(part.trim());
      part = '';
    } else part += piece;
  }
  return [...parts, part.trim()];
}

/** Where the innermost part of the path that exists begins. */
function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let at = 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document as Document.Parsed);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === part);
      if (pair === undefined) return at;
      at = (pair.key as { range?: number[] }).range?.[0] ?? at;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      at = (node as { range?: number[] } | undefined)?.range?.[0] ?? at;
    } else return at;
  }
  return at;
}

function nearestKey(
  name: string,
  path: readonly string[],
  siblings: readonly string[],
  rows: readonly { key: string }[],
): string {
  const here = siblings.map((key) => [...path, key].join('.'));
  const all = [...here, ...rows.map(({ key }) => key)];
  const last = name.split('.').at(-1) as string;
  const near = all
    .map((key) => ({ key, steps: distance(last, key.split('.').at(-1) as string) }))
    .sort((a, b) => a.steps - b.steps)[0];
  if (near !== undefined && near.steps <= Math.max(2, last.length / 3)) {
    return `; did you mean ${JSON.stringify(near.key)}?`;
  }
  return `; known here: ${here.join(', ')}`;
}

/** Levenshtein distance, case ignored. */
function distance(a: string, b: string): number {
  if (a.length > 100) return a.length;
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
