// What a schema cannot say of `sources` and `backfill`: addresses that are addresses and hold no secret, names that are told apart,
// credentials that are whole, tenants where there are tenants.

import type { Settings } from './config.js';
import { sourceName } from './config-sources.js';
import { credentialFault } from './prometheus-credential.js';
import type { BrokenRule } from './settings-rules.js';
import { tenantFault } from './tenant.js';

export function sourceRules({ sources, roles, tenancy }: Settings): BrokenRule[] {
  const key = 'sources';
  const broken: BrokenRule[] = [];
  if (sources.length > 0 && !roles.includes('receiver')) {
    broken.push({ key, message: `${key}: the receiver takes in what they bring; add it to roles` });
  }
  const names = new Set<string>();
  for (const [index, source] of sources.entries()) {
    const name = sourceName(source, index);
    const fault = names.has(name)
      ? `the name ${name} is given twice`
      : (addressFault(source.prometheus) ?? credentialFault(source) ?? whose(source, tenancy));
    names.add(name);
    if (fault !== undefined) broken.push({ key, message: `${key}[${index}]: ${fault}` });
  }
  return broken;
}

export function backfillRules({ backfill, tenancy }: Settings): BrokenRule[] {
  const { prometheus, username, passwordFile, tokenFile, tenant } = backfill;
  if (prometheus === '') return [];
  const credential = {
    tokenFile: tokenFile || undefined,
    username: username || undefined,
    passwordFile: passwordFile || undefined,
  };
  const fault =
    addressFault(prometheus) ??
    credentialFault(credential) ??
    whose({ tenant: tenant || undefined }, tenancy);
  const key = 'backfill.prometheus';
  return fault === undefined ? [] : [{ key, message: `backfill.${fault}` }];
}

function addressFault(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    return 'prometheus: expected an address, http://HOST:PORT';
  }
  return url.username === '' && url.password === ''
    ? undefined
    : 'prometheus: a password in an address is soon seen; set username and passwordFile';
}

function whose(
  { tenant }: { tenant?: string | undefined },
  tenancy: Settings['tenancy'],
): string | undefined {
  if (tenancy === 'off') {
    return tenant === undefined ? undefined : 'a tenant means nothing while tenancy is off';
  }
  if (tenant === undefined)
    return 'tenant: whose samples these are must be said while tenancy is on';
  const fault = tenantFault(tenant);
  return fault === undefined ? undefined : `tenant: ${fault}`;
}
