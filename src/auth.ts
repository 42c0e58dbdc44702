// Who may in. Judges a request by its headers before its body is read: credential, path group, tenant, rate, size. A
// presented secret is hashed under a key that only this process knows and compared with all credentials in constant
// time, so neither the time nor a log line tells anything about it. Without credentials everybody may everything: then
// the listener is on loopback, or `auth.mode: none` has been written.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Settings } from './config.js';
import type { CredentialSettings } from './config-auth.js';
import { RATE_BURST_SECONDS, SECRET_BYTES_MAX } from './limits.js';
import type { PathGroup, Place } from './path-groups.js';
import { readSecret } from './secret-file.js';
import { ONLY_TENANT, tenantFault } from './tenant.js';

export interface Knock extends Place {
  headers: IncomingHttpHeaders;
}

export interface Admission {
  /** Name of the credential. */
  name?: string;
  /** Undefined: the operator's view, of all tenants together. */
  tenant: string | undefined;
  /** Counts samples against the credential's rate. */
  spend: (samples: number) => void;
}

export interface Refusal {
  status: 400 | 401 | 403 | 411 | 413 | 429;
  message: string;
  headers: Record<string, string>;
}

export interface AccessSettings {
  credentials: readonly CredentialSettings[];
  open: readonly PathGroup[];
  tenancy: Settings['tenancy'];
  sizeBytes: (text: string) => number;
}

interface Holder {
  settings: CredentialSettings;
  kind: 'Bearer' | 'Basic';
  digest: Buffer;
  bodyBytesMax: number;
  samples?: Bucket;
  requests?: Bucket;
}

const DIGEST_KEY = randomBytes(32);
const NOTHING = (): void => {};

export class Access {
  readonly #settings: AccessSettings;
  readonly #holders: Holder[];

  /** Throws an OperatingError when a token or password file cannot be used. */
  constructor(settings: AccessSettings, clock: () => number, before?: Access) {
    this.#settings = settings;
    this.#holders = settings.credentials.map((credential) =>
      holderOf(credential, settings, {
        clock,
        before: before === undefined ? undefined : before.#find(credential),
      }),
    );
  }

  /** Reads all files again; nothing changes when one of them cannot be used. True when a secret has changed. */
  reread(): boolean {
    const digests = this.#holders.map(({ settings }) => digestOf(secretOf(settings)));
    let isChanged = false;
    for (const [index, holder] of this.#holders.entries()) {
      const digest = digests[index] as Buffer;
      isChanged ||= !digest.equals(holder.digest);
      holder.digest = digest;
    }
    return isChanged;
  }

  judge(knock: Knock): Admission | Refusal {
    const { tenancy } = this.#settings;
    const holder = this.#isOpen(knock.group) ? undefined : this.#holderOf(knock);
    if (holder !== undefined && 'status' in holder) return holder;
    const tenant = tenancy === 'off' ? ONLY_TENANT : tenantOf(knock, holder?.settings.tenant);
    if (typeof tenant === 'object') return tenant;
    if (holder === undefined) return { tenant, spend: NOTHING };
    const refusal = overLimit(holder, knock);
    if (refusal !== undefined) return refusal;
    return {
      name: holder.settings.name,
      tenant,
      spend: (samples) => holder.samples?.spend(samples),
    };
  }

  #isOpen(group: PathGroup): boolean {
    return this.#holders.length === 0 || this.#settings.open.includes(group);
  }

  #holderOf({ headers, group }: Knock): Holder | Refusal {
    const { authorization } = headers;
    if (authorization === undefined) {
      return this.#unknown('This needs a token or a password; send an Authorization header');
    }
    const presented = presentedBy(authorization);
    if (presented === undefined) {
      return this.#unknown('The Authorization header is neither "Bearer TOKEN" nor basic auth');
    }
    // All are compared, also after one has fitted: the time must not tell which.
    const digest = digestOf(presented.secret);
    let found: Holder | undefined;
    for (const holder of this.#holders) {
      const isSame = timingSafeEqual(holder.digest, digest);
      const isMeant =
        holder.kind === presented.kind &&
        (presented.user === undefined || presented.user === holder.settings.name);
      if (isSame && isMeant) found = holder;
    }
    if (found === undefined) return this.#unknown('The token or password is not known here');
    if (found.settings.allow.includes(group)) return found;
    const message = `${found.settings.name} is not allowed to ${group} here; see auth.credentials`;
    return { status: 403, message, headers: {} };
  }

  #unknown(message: string): Refusal {
    const kinds = new Set(this.#holders.map(({ kind }) => kind));
    const challenges = [...kinds].map((kind) =>
      kind === 'Basic' ? 'Basic realm="treeline", charset="UTF-8"' : 'Bearer realm="treeline"',
    );
    return { status: 401, message, headers: { 'WWW-Authenticate': challenges.join(', ') } };
  }

  #find({ name, samplesPerSecond, requestsPerSecond }: CredentialSettings): Holder | undefined {
    return this.#holders.find(
      ({ settings }) =>
        settings.name === name &&
        settings.samplesPerSecond === samplesPerSecond &&
        settings.requestsPerSecond === requestsPerSecond,
    );
  }
}

/**
 * A rate with a burst. Spending may go below nothing, because how many samples a request has is known only when it has
 * been read; then nothing more is let in until the debt is paid.
 */
class Bucket {
  readonly #perSecond: number;
  readonly #clock: () => number;
  #left: number;
  #at: number;

  constructor(perSecond: number, clock: () => number) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#left = perSecond * RATE_BURST_SECONDS;
    this.#at = clock();
  }

  /** Seconds until something is left; 0 when something is. */
  waitSeconds(): number {
    this.#fill();
    return this.#left > 0 ? 0 : Math.max(1, Math.ceil((1 - this.#left) / this.#perSecond));
  }

  spend(count: number): void {
    this.#fill();
    this.#left -= count;
  }

  #fill(): void {
    const now = this.#clock();
    // A clock that is set back fills nothing and takes nothing away.
    const seconds = Math.max(0, now - this.#at) / 1000;
    this.#at = now;
    const full = this.#perSecond * RATE_BURST_SECONDS;
    this.#left = Math.min(full, this.#left + seconds * this.#perSecond);
  }
}

function holderOf(
  settings: CredentialSettings,
  { sizeBytes }: AccessSettings,
  { clock, before }: { clock: () => number; before: Holder | undefined },
): Holder {
  const { samplesPerSecond, requestsPerSecond, bodySize } = settings;
  const holder: Holder = {
    settings,
    kind: settings.tokenFile === undefined ? 'Basic' : 'Bearer',
    digest: digestOf(secretOf(settings)),
    bodyBytesMax: bodySize === undefined ? Number.POSITIVE_INFINITY : sizeBytes(bodySize),
  };
  // A reload must not fill the buckets of somebody who has emptied them.
  if (samplesPerSecond !== undefined) {
    holder.samples = before?.samples ?? new Bucket(samplesPerSecond, clock);
  }
  if (requestsPerSecond !== undefined) {
    holder.requests = before?.requests ?? new Bucket(requestsPerSecond, clock);
  }
  return holder;
}

function secretOf({ tokenFile, passwordFile }: CredentialSettings): string {
  return readSecret((tokenFile ?? passwordFile) as string, SECRET_BYTES_MAX);
}

function digestOf(secret: string): Buffer {
  return createHmac('sha256', DIGEST_KEY).update(secret).digest();
}

/** Schemes of RFC 6750, section 2.1, and RFC 7617, section 2; their names are case-insensitive. */
function presentedBy(
  authorization: string,
): { kind: 'Bearer' | 'Basic'; user?: string; secret: string } | undefined {
  const [, scheme = '', rest = ''] = /^(\S+) +(\S+)$/.exec(authorization) ?? [];
  if (rest.length > 2 * SECRET_BYTES_MAX) return undefined;
  if (scheme.toLowerCase() === 'bearer') return { kind: 'Bearer', secret: rest };
  if (scheme.toLowerCase() !== 'basic') return undefined;
  const text = Buffer.from(rest, 'base64').toString();
  const colon = text.indexOf(':');
  if (colon < 0) return undefined;
  return { kind: 'Basic', user: text.slice(0, colon), secret: text.slice(colon + 1) };
}

/** A token bound to a tenant may leave the header away, and may not name another. */
function tenantOf(
  { headers, scope }: Knock,
  bound: string | undefined,
): string | undefined | Refusal {
  const header = headers['x-scope-orgid'];
  const named = Array.isArray(header) ? header.join(',') : header;
  if (scope === 'nobody') return undefined;
  if (scope === 'operator' && bound !== undefined && named === undefined) return bound;
  const tenant = named ?? bound;
  if (tenant === undefined) {
    if (scope === 'operator') return undefined;
    const message = 'Tenants are told apart here: name yours in the header X-Scope-OrgID';
    return { status: 400, message, headers: {} };
  }
  const fault = tenantFault(tenant);
  if (fault !== undefined) return { status: 400, message: `X-Scope-OrgID: ${fault}`, headers: {} };
  if (bound === undefined || bound === tenant) return tenant;
  const message = `This token is bound to the tenant ${bound}, and X-Scope-OrgID names another`;
  return { status: 403, message, headers: {} };
}

function overLimit(holder: Holder, { group, headers }: Knock): Refusal | undefined {
  const { name } = holder.settings;
  const wait = holder.requests?.waitSeconds() ?? 0;
  if (wait > 0) return tooFast(`${name} sends more requests than it may`, wait);
  holder.requests?.spend(1);
  if (group !== 'write') return undefined;
  const debt = holder.samples?.waitSeconds() ?? 0;
  if (debt > 0) return tooFast(`${name} sends more samples than it may`, debt);
  if (holder.bodyBytesMax === Number.POSITIVE_INFINITY) return undefined;
  const declared = headers['content-length'];
  if (declared === undefined) {
    const message = `The bodies of ${name} are limited: send their Content-Length`;
    return { status: 411, message, headers: {} };
  }
  if (Number(declared) <= holder.bodyBytesMax) return undefined;
  const message = `${name} may send at most ${holder.bodyBytesMax} bytes at once; send smaller batches`;
  return { status: 413, message, headers: {} };
}

/** 429, and only here: overload is 503, which senders retry without being told to. */
function tooFast(message: string, seconds: number): Refusal {
  return { status: 429, message, headers: { 'Retry-After': String(seconds) } };
}
