// Every state of the page has an address: the part after # names the view and what is chosen in it. Nothing secret is
// ever part of it.

import { computed, signal } from '@preact/signals';

export interface Route {
  view: 'now' | 'incident' | 'series' | 'system';
  /** An incident, or the fingerprint of a series. */
  id: string | undefined;
  query: Readonly<Record<string, string>>;
}

const VIEWS = ['now', 'incident', 'series', 'system'] as const;

const hash = signal(location.hash);
addEventListener('hashchange', () => {
  hash.value = location.hash;
});

export const route = computed<Route>(() => parseRoute(hash.value));

export function parseRoute(text: string): Route {
  const [path = '', query = ''] = text.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [name = '', id] = path.split('/');
  const view = VIEWS.find((known) => known === name) ?? 'now';
  return {
    view,
    id: id === undefined || id === '' ? undefined : decode(id),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

export function linkTo(
  view: Route['view'],
  id?: string,
  query: Readonly<Record<string, string | undefined>> = {},
): string {
  const kept = Object.entries(query).filter((pair): pair is [string, string] => {
    return pair[1] !== undefined && pair[1] !== '';
  });
  const search = kept.length === 0 ? '' : `?${new URLSearchParams(kept)}`;
  return `#/${view}${id === undefined ? '' : `/${encodeURIComponent(id)}`}${search}`;
}

/** The address of this view with some of its choices changed; undefined takes one away. */
export function linkWith(changes: Readonly<Record<string, string | undefined>>): string {
  const { view, id, query } = route.value;
  return linkTo(view, id, { ...query, ...changes });
}

/** At once: the next key may be meant for the view that this leads to. */
export function go(link: string): void {
  location.hash = link;
  hash.value = location.hash;
}

/** Also what somebody has typed wrong is an address. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
