// Where apis that share a store put forecasts: whoever holds the lease makes and writes them, the others read them when they
// are asked. Records are overwritten in place; the first says how many there are, so what an earlier and longer list left
// behind is not read.
//
//   forecasts/<name>/0     JSON: count of records, entries
//   forecasts/<name>/1     JSON: entries that the first had no room for

import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { FORECAST_RECORD_BYTES_MAX, FORECAST_SERIES_MAX } from '../limits-forecasts.js';
import type { StateStore } from '../state/state-store.js';
import { SeriesEntry } from './forecast-entries.js';

const PREFIX = 'forecasts/';

const Stored = Type.Object({
  count: Type.Integer({ minimum: 1, maximum: FORECAST_SERIES_MAX }),
  entries: Type.Array(SeriesEntry, { maxItems: FORECAST_SERIES_MAX }),
});

/** Those of a name that nobody wrote, or another version did, are none. */
export async function readShelf(store: StateStore, name: string): Promise<SeriesEntry[]> {
  const first = storedIn(await store.get(`${PREFIX}${name}/0`));
  const entries = first?.entries ?? [];
  for (let at = 1; at < (first?.count ?? 0); at++) {
    entries.push(...(storedIn(await store.get(`${PREFIX}${name}/${at}`))?.entries ?? []));
  }
  return entries;
}

export async function writeShelf(
  store: StateStore,
  name: string,
  entries: Iterable<SeriesEntry>,
): Promise<void> {
  const parts: string[][] = [[]];
  let length = 0;
  for (const entry of entries) {
    const text = JSON.stringify(entry);
    if (length > 0 && length + text.length > FORECAST_RECORD_BYTES_MAX) {
      parts.push([]);
      length = 0;
    }
    parts.at(-1)?.push(text);
    length += text.length;
  }
  // The first one last: until then readers have the list before.
  for (const [at, texts] of [...parts.entries()].reverse()) {
    const text = `{"count":${parts.length},"entries":[${texts.join(',')}]}`;
    await store.put(`${PREFIX}${name}/${at}`, Buffer.from(text));
  }
}

/** Removes what was written for names that are not in the settings any more. */
export async function tidyShelf(store: StateStore, names: ReadonlySet<string>): Promise<void> {
  const known = (await store.list(PREFIX)).map((key) => key.slice(PREFIX.length).split('/')[0]);
  for (const name of new Set(known)) {
    if (name !== undefined && !names.has(name)) await store.deleteAll(`${PREFIX}${name}/`);
  }
}

function storedIn(bytes: Uint8Array | undefined): Static<typeof Stored> | undefined {
  if (bytes === undefined) return undefined;
  let stored: unknown;
  try {
    stored = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined; // SyntaxError: not what we write
  }
  return Value.Check(Stored, stored) ? stored : undefined;
}
