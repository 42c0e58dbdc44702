// Asks the public REST routes, and says what came of it. The credential is kept for the tab (sessionStorage) and goes
// into headers only, never into an address. A 401 makes the page ask for one.

import { signal } from '@preact/signals';

export interface Credential {
  kind: 'Bearer' | 'Basic';
  secret: string;
  tenant: string;
}

/** What the page is told when it may not ask; undefined while it may. */
export const refusal = signal<string | undefined>(undefined);

const KEY = 'treeline.credential';
const ANSWER_MS_MAX = 20_000;

export class RestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function keepCredential(credential: Credential): void {
  sessionStorage.setItem(KEY, JSON.stringify(credential));
  refusal.value = undefined;
}

export function forgetCredential(): void {
  sessionStorage.removeItem(KEY);
}

export function hasCredential(): boolean {
  return sessionStorage.getItem(KEY) !== null;
}

export function credentialHeaders(): Record<string, string> {
  const kept = sessionStorage.getItem(KEY);
  if (kept === null) return {};
  const { kind, secret, tenant } = JSON.parse(kept) as Credential;
  return {
    ...(secret !== '' && { Authorization: `${kind} ${secret}` }),
    ...(tenant !== '' && { 'X-Scope-OrgID': tenant }),
  };
}

/** Rejects with a RestError that says why; its status is 0 when nobody answered. */
export async function ask<T>(
  path: string,
  options: { method?: string; body?: object; signal?: AbortSignal } = {},
): Promise<T> {
  const { method = 'GET', body, signal: stop } = options;
  const late = AbortSignal.timeout(ANSWER_MS_MAX);
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      // The browser must not ask for a password by itself, nor remember one.
      credentials: 'omit',
      cache: 'no-store',
      headers: {
        ...credentialHeaders(),
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: stop === undefined ? late : AbortSignal.any([stop, late]),
    });
  } catch (error) {
    if (stop?.aborted) throw error;
    throw new RestError(0, 'Treeline does not answer');
  }
  if (answer.status === 204) return undefined as T;
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text) as T;
  const message = sentenceOf(text) ?? `${path} was answered ${answer.status}`;
  if (answer.status === 401 || asksForTenant(answer.status, message)) refusal.value = message;
  throw new RestError(answer.status, message);
}

/** Without a tenant nothing can be shown where there are several. */
function asksForTenant(status: number, message: string): boolean {
  return status === 400 && message.includes('X-Scope-OrgID');
}

/** Errors are a sentence, in JSON or as plain text. */
function sentenceOf(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === 'string' ? error : undefined;
  } catch {
    return text.trim() === '' ? undefined : text.trim().slice(0, 500);
  }
}
