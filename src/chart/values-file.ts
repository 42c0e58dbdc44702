// Reads charts/treeline/values.yaml for what is made from it: every key with its default and the sentence above it (a
// comment that begins with `--`). A map is part of the tree when its keys have sentences of their own; else it is a value
// like any other. That one file is where a value is added; schema and table follow from it.

import { strict as assert } from 'node:assert';
import { isMap, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';

export interface ChartValue {
  /** `receiver.resources`. */
  path: string;
  description: string;
  default: unknown;
}

export interface ChartGroup {
  path: string;
  entries: Map<string, ChartGroup | ChartValue>;
}

export function isGroup(entry: ChartGroup | ChartValue): entry is ChartGroup {
  return 'entries' in entry;
}

/** Throws an assertion when a value has no sentence. */
export function readValues(text: string): ChartGroup {
  const document = parseDocument(text);
  assert.deepEqual(document.errors, []);
  assert(isMap(document.contents), 'values.yaml is a map');
  return readGroup(document.contents, '', undefined);
}

/** All values, in the order of the file. */
export function valuesIn(group: ChartGroup): ChartValue[] {
  return [...group.entries.values()].flatMap((entry) =>
    isGroup(entry) ? valuesIn(entry) : [entry],
  );
}

/** `inherited` is the comment of a map's first key, which the parser gives to the map. */
function readGroup(map: YAMLMap, path: string, inherited: string | undefined): ChartGroup {
  const entries = new Map<string, ChartGroup | ChartValue>();
  for (const [index, pair] of map.items.entries()) {
    const key = keyOf(pair);
    const at = path === '' ? key : `${path}.${key}`;
    const sentence = descriptionIn(index === 0 ? (inherited ?? commentOf(pair)) : commentOf(pair));
    if (sentence !== undefined) {
      entries.set(key, { path: at, description: sentence, default: jsonOf(pair) });
      continue;
    }
    assert(isMap(pair.value), `${at} has no sentence above it`);
    entries.set(key, readGroup(pair.value, at, pair.value.commentBefore ?? undefined));
  }
  return { path, entries };
}

function keyOf({ key }: Pair): string {
  assert(isScalar(key) && typeof key.value === 'string');
  return key.value;
}

function commentOf({ key }: Pair): string | undefined {
  return isScalar(key) ? (key.commentBefore ?? undefined) : undefined;
}

/** Only the last paragraph of a comment speaks of the key below it. */
function descriptionIn(comment: string | undefined): string | undefined {
  const last = comment?.split('\n\n').at(-1);
  const found = /^ -- (.*)$/s.exec(last ?? '')?.[1];
  return found?.replace(/\n */g, ' ');
}

function jsonOf({ value }: Pair): unknown {
  const node = value as { toJSON?: () => unknown } | null;
  return node === null ? null : (node.toJSON?.() ?? null);
}
