// What a schema cannot say of `forecasts`: selectors that parse, names that are told apart, times that make sense together,
// something that forecasts and somebody to ask for series.

import type { Settings } from './config.js';
import { BadMatcher, parseSelector } from './matchers.js';
import type { BrokenRule } from './settings-rules.js';
import { tenantFault } from './tenant.js';

type Entry = Settings['forecasts'][number];

export function forecastRules(settings: Settings): BrokenRule[] {
  const { forecasts, tenancy } = settings;
  const key = 'forecasts';
  if (forecasts.length === 0) return [];
  const names = new Set<string>();
  const broken = forecasts.flatMap((entry, index) => {
    const fault = names.has(entry.name)
      ? `the name ${entry.name} is given twice`
      : (selectorFault(entry) ?? timeFault(entry) ?? tenantMissing(entry, tenancy));
    names.add(entry.name);
    return fault === undefined ? [] : [{ key, message: `${key}[${index}]: ${fault}` }];
  });
  const nobody = nobodyToAsk(settings);
  return nobody === undefined ? broken : [...broken, { key, message: `${key}: ${nobody}` }];
}

function selectorFault({ match }: Entry): string | undefined {
  for (const selector of match) {
    try {
      parseSelector(selector);
    } catch (error) {
      if (!(error instanceof BadMatcher)) throw error;
      return `match: ${error.message}`;
    }
  }
  return undefined;
}

function timeFault({ interval, horizon }: Entry): string | undefined {
  if (secondsOf(horizon) >= secondsOf(interval)) return undefined;
  return `horizon: ${horizon} is over before the next forecast is made; interval is ${interval}`;
}

/** What the schema lets through. */
function secondsOf(text: string): number {
  const unit = { s: 1, m: 60, h: 3600, d: 86_400 };
  return Number.parseInt(text, 10) * unit[text.slice(-1) as keyof typeof unit];
}

function tenantMissing({ tenant }: Entry, tenancy: Settings['tenancy']): string | undefined {
  if (tenancy === 'off') {
    return tenant === undefined ? undefined : 'a tenant means nothing while tenancy is off';
  }
  if (tenant === undefined) return 'tenant: whose series must be said while tenancy is on';
  const fault = tenantFault(tenant);
  return fault === undefined ? undefined : `tenant: ${fault}`;
}

/** The api makes them; a scorer that is told of them only keeps the values that they need. */
function nobodyToAsk({ roles, api, deepCheck }: Settings): string | undefined {
  if (!roles.includes('api')) return undefined;
  if (deepCheck.runtime === 'none') {
    return 'deepCheck.runtime is none, so nothing can forecast; choose another, or remove them';
  }
  if (roles.includes('scorer') || api.scorers.length > 0) return undefined;
  return 'an api without a scorer needs api.scorers, whose series it forecasts';
}
