// The name of a tenant: what X-Scope-OrgID may hold. The characters are those that Grafana Mimir allows
// (https://grafana.com/docs/mimir/latest/configure/about-tenant-ids/), so that one header serves both. A name never
// becomes a path, but `.` and `..` are refused all the same, for whoever copies it into one.

import { TENANT_BYTES_MAX } from './limits.js';

/** The tenant of everything while tenancy is off. */
export const ONLY_TENANT = '';

/** What is wrong with the name; undefined when it may be used. */
export function tenantFault(name: string): string | undefined {
  if (name.length > TENANT_BYTES_MAX) {
    return `the tenant has ${name.length} characters, at most ${TENANT_BYTES_MAX} are allowed`;
  }
  if (name === '.' || name === '..' || !/^[a-zA-Z0-9!_.*'()-]+$/.test(name)) {
    return "a tenant is made of letters, digits and ! - _ . * ' ( )";
  }
  return undefined;
}
