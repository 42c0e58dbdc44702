// Series of an api that scores nothing itself: it asks the scorers, which own them. A list walks from one scorer to the
// next in the order of their ids, one series is asked of all at once, counts are summed. Who does not answer is named in
// the answer, never passed over; and that a series is not known is said only when those who answered have read all
// partitions to their end.
//
//   cursor: id of the scorer "-" its own cursor there, nothing at its beginning        6f1c…e2-3.100

import { strict as assert } from 'node:assert';
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { SCORER_ANSWER_MS_MAX, SCORER_HASH_MS_MAX, SCORER_PAGE_MS } from '../limits.js';
import type { Metrics } from '../metrics.js';
import { ONLY_TENANT } from '../tenant.js';
import { isEntryCursor, type SeriesQuestion, type SeriesSource } from './rest-series.js';
import { type ScorerAddress, ScorerAddresses, type Unreachable } from './scorer-addresses.js';
import { type Answered, type Question, ScorerClient } from './scorer-client.js';

const PageAnswer = (rowsMax: number) =>
  Type.Object({
    series: Type.Array(Type.Object({}), { maxItems: rowsMax }),
    cursor: Type.Optional(Type.String({ maxLength: 20 })),
  });
const SeriesAnswer = Type.Object({});
const CountAnswer = Type.Object({
  series: Type.Integer({ minimum: 0 }),
  scored: Type.Integer({ minimum: 0 }),
});
const StatusAnswer = Type.Object({
  partitions: Type.Array(Type.Object({ partition: Type.Integer({ minimum: 0 }) })),
});

export interface ScorerPeersParts {
  urls: readonly string[];
  /** What is sent as a bearer token, as it is now. */
  token: () => string | undefined;
  /** Addresses of a name. */
  resolve: (name: string) => Promise<readonly string[]>;
  /** Of the log. */
  partitions: number;
  metrics: Metrics;
  logger: Logger;
  clock: () => number;
}

interface Round<T> {
  heard: { scorer: ScorerAddress; answer: Answered<T> }[];
  missed: Unreachable[];
}

export class ScorerPeers implements SeriesSource {
  readonly isElsewhere = true;
  readonly #parts: ScorerPeersParts;
  readonly #client: ScorerClient;
  readonly #addresses: ScorerAddresses;
  /** Ids of those who did not answer last time. */
  readonly #away = new Set<string>();

  constructor(parts: ScorerPeersParts) {
    const { urls, resolve, clock, metrics } = parts;
    this.#parts = parts;
    this.#client = new ScorerClient(parts.token);
    const { counts } = this.#client;
    const onUnresolved = () => counts.unresolved++;
    this.#addresses = new ScorerAddresses({ urls, resolve, clock, onUnresolved });
    const name = 'treeline_scorer_requests_total';
    const help = 'Questions of the api to scorers, by what became of them';
    metrics.observe('counter', { name, help, labels: ['outcome'] }, () =>
      Object.entries(counts).map(([outcome, value]) => ({ labels: { outcome }, value })),
    );
  }

  isCursor(text: string): boolean {
    const [, inner] = /^[0-9a-f]{16}-(.*)$/.exec(text) ?? [];
    return inner !== undefined && (inner === '' || isEntryCursor(inner));
  }

  /** A page may be short: scorers that keep us waiting are left to the next one. */
  async page({ tenant, match, limit, cursor }: SeriesQuestion): ReturnType<SeriesSource['page']> {
    const { scorers, unreachable } = await this.#now();
    const [fromId = '', fromEntry = ''] = cursor?.split('-') ?? [];
    const rows: object[] = [];
    const begin = performance.now();
    const isOver = () => rows.length >= limit || performance.now() - begin >= SCORER_PAGE_MS;
    const remaining = scorers.filter(({ id }) => id >= fromId);
    for (const [index, scorer] of remaining.entries()) {
      if (index > 0 && isOver()) return { rows, next: `${scorer.id}-`, unreachable };
      const search = new URLSearchParams(match.map((selector) => ['match[]', selector]));
      search.set('limit', String(limit - rows.length));
      if (scorer.id === fromId && fromEntry !== '') search.set('cursor', fromEntry);
      const question = questionOf(PageAnswer(limit - rows.length), `/series?${search}`, tenant);
      const { heard, missed } = await this.#ask([scorer], question);
      unreachable.push(...missed);
      const body = heard[0]?.answer.body;
      if (body === undefined) continue;
      for (const row of body.series) rows.push(row);
      const next = body.cursor;
      if (next !== undefined) return { rows, next: `${scorer.id}-${next}`, unreachable };
    }
    return { rows, unreachable };
  }

  /** The first who knows it is believed. Rejects with `owner_unreachable` when nobody does, and not everybody was heard. */
  async find(wanted: { fingerprint: string; tenant: string }): Promise<object | undefined> {
    const { scorers, unreachable } = await this.#now();
    const question = questionOf(SeriesAnswer, `/series/${wanted.fingerprint}`, wanted.tenant);
    const covered = new Set<number>();
    const row = await firstDefined(
      scorers.map(async (scorer) => {
        const { heard, missed } = await this.#ask([scorer], question);
        unreachable.push(...missed);
        const [first] = heard;
        for (const partition of first?.answer.partitions ?? []) covered.add(partition);
        return first?.answer.body;
      }),
    );
    const missing = this.#partitionsBut(covered);
    if (row !== undefined || missing.length === 0) return row;
    throw new OperatingError('owner_unreachable', unheardSentence(missing, unreachable));
  }

  async count(tenant: string): Promise<object> {
    assert(
      tenant !== ONLY_TENANT,
      'series are counted for a tenant; the operator reads the status',
    );
    const { heard, missed } = await this.#askAll(questionOf(CountAnswer, '/status', tenant));
    const counts = { series: 0, scored: 0 };
    for (const { answer } of heard) {
      counts.series += answer.body?.series ?? 0;
      counts.scored += answer.body?.scored ?? 0;
    }
    return { ...counts, ...namedIfAny(missed) };
  }

  async status(withHash: boolean): ReturnType<SeriesSource['status']> {
    const question = {
      ...questionOf(StatusAnswer, withHash ? '/status?stateHash=now' : '/status', ONLY_TENANT),
      ...(withHash && { deadlineMs: SCORER_HASH_MS_MAX }),
    };
    const { heard, missed } = await this.#askAll(question);
    const rows = heard.flatMap(({ scorer, answer }) =>
      (answer.body?.partitions ?? []).map((row) => ({ ...row, scorer: scorer.shown })),
    );
    rows.sort((a, b) => a.partition - b.partition);
    const missing = this.#partitionsBut(new Set(rows.map(({ partition }) => partition)));
    return {
      partitions: rows,
      ...(missing.length > 0 && { partitionsUnanswered: missing }),
      ...namedIfAny(missed),
    };
  }

  close(): void {
    this.#client.close();
  }

  async #now(): ReturnType<ScorerAddresses['now']> {
    const found = await this.#addresses.now();
    const ids = new Set(found.scorers.map(({ id }) => id));
    for (const id of this.#away) if (!ids.has(id)) this.#away.delete(id);
    return found;
  }

  async #askAll<T extends TSchema>(question: Question<T>): Promise<Round<Static<T>>> {
    const { scorers, unreachable } = await this.#now();
    const { heard, missed } = await this.#ask(scorers, question);
    return { heard, missed: [...unreachable, ...missed] };
  }

  async #ask<T extends TSchema>(
    scorers: readonly ScorerAddress[],
    question: Question<T>,
  ): Promise<Round<Static<T>>> {
    const { heard, missed }: Round<Static<T>> = { heard: [], missed: [] };
    const { logger } = this.#parts;
    const ask = async (scorer: ScorerAddress) => {
      const answer = await this.#client.ask(scorer, question);
      const { id, shown } = scorer;
      if (answer.outcome === 'answered') {
        heard.push({ scorer, answer });
        if (this.#away.delete(id)) logger.info({ scorer: shown }, 'Scorer answers again');
        return;
      }
      const { outcome, reason } = answer;
      missed.push({ scorer: shown, reason });
      if (this.#away.has(id)) return;
      this.#away.add(id);
      logger.warn({ scorer: shown, outcome, reason }, 'A scorer does not answer the api');
    };
    await Promise.all(scorers.map(ask));
    return { heard, missed };
  }

  #partitionsBut(covered: ReadonlySet<number>): number[] {
    const all = Array.from({ length: this.#parts.partitions }, (_, partition) => partition);
    return all.filter((partition) => !covered.has(partition));
  }
}

function questionOf<T extends TSchema>(schema: T, path: string, tenant: string): Question<T> {
  return { schema, path, tenant, deadlineMs: SCORER_ANSWER_MS_MAX };
}

function namedIfAny(unreachable: readonly Unreachable[]): { unreachable?: readonly Unreachable[] } {
  return unreachable.length === 0 ? {} : { unreachable };
}

/** Does not wait for the others once one is there. */
function firstDefined<T>(all: readonly Promise<T | undefined>[]): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    for (const one of all) {
      one.then((value) => {
        if (value !== undefined) resolve(value);
      }, reject);
    }
    Promise.all(all).then(() => resolve(undefined), reject);
  });
}

function unheardSentence(missing: readonly number[], unreachable: readonly Unreachable[]): string {
  const named = unreachable.map(({ scorer, reason }) => `${scorer} (${reason})`).join(', ');
  const who = named === '' ? 'no scorer has read them to their end yet' : `not heard: ${named}`;
  return (
    'Owner unreachable: nobody who answered knows this series, and nobody answered for ' +
    `partitions ${missing.join(', ')}; ${who}`
  );
}
