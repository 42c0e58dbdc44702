// Where the scorers are. Each base URL of the settings stands for one scorer, or, when its host is a name, for one at
// every address that the name has: a headless service of an orchestrator is one line. Names are asked again every 30 s,
// when somebody needs them; a name that is not answered keeps the addresses it had. Of a name with addresses of both
// families those of IPv4 are taken, or every scorer with two would be asked twice.

import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  SCORER_ANSWER_MS_MAX,
  SCORER_NAME_RETRY_MS,
  SCORER_NAMES_MS,
  SCORERS_MAX,
} from '../limits.js';

export interface ScorerAddress {
  /** 16 hexadecimal digits that a cursor may show: it stays the same as long as the address does. */
  id: string;
  /** For people: the base URL with the address in place of the name. */
  shown: string;
  base: URL;
  /** Without the brackets of IPv6. */
  address: string;
}

export interface Unreachable {
  scorer: string;
  reason: string;
}

export interface AddressParts {
  urls: readonly string[];
  /** All addresses of a name. Rejects with a code when it has none. */
  resolve: (name: string) => Promise<readonly string[]>;
  clock: () => number;
  onUnresolved: (name: string) => void;
}

interface Place {
  base: URL;
  host: string;
  addresses: readonly string[];
  triedAt: number;
  asking: Promise<void> | undefined;
  fault: string;
}

export class ScorerAddresses {
  readonly #parts: AddressParts;
  readonly #places: readonly Place[];

  constructor(parts: AddressParts) {
    this.#parts = parts;
    this.#places = parts.urls.map((url) => {
      const base = new URL(url);
      const host = base.hostname.replace(/^\[|\]$/g, '');
      const addresses = isIP(host) === 0 ? [] : [host];
      const triedAt = Number.NEGATIVE_INFINITY;
      return { base, host, addresses, triedAt, asking: undefined, fault: 'not looked up yet' };
    });
  }

  /** In the order of their ids. Takes no longer than one answer of a scorer may. */
  async now(): Promise<{ scorers: ScorerAddress[]; unreachable: Unreachable[] }> {
    await Promise.all(this.#places.map((place) => this.#refresh(place)));
    const found = new Map<string, ScorerAddress>();
    const unreachable: Unreachable[] = [];
    for (const { base, addresses, fault } of this.#places) {
      if (addresses.length === 0) unreachable.push({ scorer: shownAt(base, ''), reason: fault });
      for (const address of addresses) {
        const shown = shownAt(base, address);
        if (found.has(shown)) continue;
        if (found.size === SCORERS_MAX) {
          unreachable.push({ scorer: shown, reason: `not asked: ${SCORERS_MAX} others are` });
          break;
        }
        const id = createHash('sha256').update(shown).digest('hex').slice(0, 16);
        found.set(shown, { id, shown, base, address });
      }
    }
    const scorers = [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    return { scorers, unreachable };
  }

  async #refresh(place: Place): Promise<void> {
    if (isIP(place.host) !== 0) return;
    const isKnown = place.addresses.length > 0;
    const now = this.#parts.clock();
    // A clock that was set back is no reason to believe old addresses for longer.
    const isDue =
      Math.abs(now - place.triedAt) >= (isKnown ? SCORER_NAMES_MS : SCORER_NAME_RETRY_MS);
    if (isDue && place.asking === undefined) {
      place.triedAt = now;
      place.asking = this.#resolve(place).finally(() => {
        place.asking = undefined;
      });
    } else if (isKnown) return;
    if (place.asking === undefined) return;
    const late = new AbortController();
    const wait = sleep(SCORER_ANSWER_MS_MAX, undefined, { signal: late.signal, ref: false });
    await Promise.race([place.asking, wait.catch(() => {})]); // AbortError: it was answered in time
    late.abort();
  }

  /** Never rejects. */
  async #resolve(place: Place): Promise<void> {
    const { resolve, onUnresolved } = this.#parts;
    place.fault = 'its name is not answered yet';
    try {
      const addresses = await resolve(place.host);
      const fourth = addresses.filter((address) => isIP(address) === 4);
      place.addresses = [...new Set(fourth.length > 0 ? fourth : addresses)].sort();
      place.fault = 'its name has no address';
    } catch (error) {
      // ENOTFOUND, EAI_AGAIN: no such name just now, or nobody to ask.
      place.fault = `its name is not known: ${(error as NodeJS.ErrnoException).code ?? error}`;
      onUnresolved(place.host);
    }
  }
}

function shownAt(base: URL, address: string): string {
  const host = isIP(address) === 6 ? `[${address}]` : address || base.hostname;
  const port = base.port === '' ? '' : `:${base.port}`;
  return `${base.protocol}//${host}${port}${base.pathname.replace(/\/+$/, '')}`;
}
