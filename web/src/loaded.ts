// What a view shows, asked for when the view appears, when what it asks for changes, and when the event stream says that
// something has. An answer that comes after a newer question is dropped; after a failure what was shown stays.

import { effect, untracked, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { revision } from './events.js';
import { ask, type RestError, refusal } from './rest.js';

export interface Loaded<T> {
  value: T | undefined;
  /** Why the last question was not answered. */
  error: RestError | undefined;
}

/** Asks again every `everyMs` too, where the stream says nothing of what is shown. */
export function useLoaded<T>(path: string | undefined, everyMs?: number): Loaded<T> {
  const loaded = useSignal<Loaded<T> & { path: string | undefined }>({
    path: undefined,
    value: undefined,
    error: undefined,
  });
  const isRefused = refusal.value !== undefined;
  useEffect(() => {
    if (path === undefined || isRefused) return;
    const stop = new AbortController();
    let isAsking = false;
    let isWantedAgain = false;
    const load = async () => {
      isWantedAgain = isAsking;
      if (isAsking) return;
      isAsking = true;
      try {
        const value = await ask<T>(path, { signal: stop.signal });
        loaded.value = { path, value, error: undefined };
      } catch (error) {
        if (stop.signal.aborted) return;
        const kept = loaded.peek().path === path ? loaded.peek().value : undefined;
        loaded.value = { path, value: kept, error: error as RestError };
      }
      isAsking = false;
      if (isWantedAgain) void load();
    };
    const unfollow = effect(() => {
      revision.value;
      untracked(() => void load());
    });
    const timer = everyMs === undefined ? undefined : setInterval(() => void load(), everyMs);
    return () => {
      stop.abort();
      unfollow();
      clearInterval(timer);
    };
  }, [path, isRefused, everyMs, loaded]);
  const { path: of, value, error } = loaded.value;
  return of === path ? { value, error } : { value: undefined, error: undefined };
}
