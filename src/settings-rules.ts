// What a schema cannot say of the settings: selectors that must parse, settings that only make sense together, and the
// one rule about safety: an address that other machines can reach needs credentials, or a plain word that it has none.

import { isTimeZone } from './calendar.js';
import type { Settings } from './config.js';
import type { CredentialSettings } from './config-auth.js';
import { needOf } from './config-detection.js';
import { detectorRules } from './detector-rules.js';
import { forecastRules } from './forecast-rules.js';
import { NOISE_SAMPLES_MAX, PARTITION_AND_STRIP_LABELS_MAX } from './limits.js';
import { BadMatcher, parseSelector } from './matchers.js';
import { outputRules } from './output-rules.js';
import { PATH_GROUPS } from './path-groups.js';
import { backfillRules, sourceRules } from './source-rules.js';
import { tenantFault } from './tenant.js';

export interface BrokenRule {
  key: string;
  message: string;
}

export function rulesBroken(settings: Settings): BrokenRule[] {
  return [
    ...listenRules(settings),
    ...zoneRules(settings),
    ...authRules(settings),
    ...selectorRules('ingest.keep', settings.ingest.keep),
    ...selectorRules('ingest.drop', settings.ingest.drop),
    ...labelRules(settings.ingest),
    ...kafkaRules(settings),
    ...alertRules(settings.alerts),
    ...scorerRules(settings),
    ...sourceRules(settings),
    ...outputRules(settings),
    ...detectionRules(settings),
    ...detectorRules(settings),
    ...deepCheckRules(settings),
    ...forecastRules(settings),
    ...backfillRules(settings),
  ];
}

export function listenAddress(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host, port: Number(listen.slice(colon + 1)) };
}

/** Reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return /^127\.[0-9]+\.[0-9]+\.[0-9]+$|^::1$|^localhost$/.test(host);
}

function zoneRules({ timezone }: Settings): BrokenRule[] {
  if (isTimeZone(timezone)) return [];
  const message = `timezone: ${JSON.stringify(timezone)} is no time zone; write an IANA name, such as Europe/Berlin`;
  return [{ key: 'timezone', message }];
}

const LISTENERS = ['listen', 'listenMetrics', 'listenAdmin'] as const;

function listenerFault(
  key: (typeof LISTENERS)[number],
  { auth, ...settings }: Settings,
): BrokenRule | undefined {
  const address = settings[key];
  if (address === '') return undefined;
  const { host, port } = listenAddress(address);
  if (port > 65_535) return { key, message: `${key}: there is no port ${port}` };
  const others = LISTENERS.filter((other) => other !== key && settings[other] === address);
  if (port !== 0 && others.length > 0) {
    return { key, message: `${key}: ${others[0]} has this address already; leave one of them out` };
  }
  const asksNobody =
    auth.credentials.length === 0 || PATH_GROUPS.every((group) => auth.open.includes(group));
  if (isLoopback(host) || auth.mode === 'none' || !asksNobody) return undefined;
  const message =
    `${key}: ${JSON.stringify(address)} is reachable from other machines and no ` +
    'authentication is configured; list auth.credentials, listen on 127.0.0.1, or write ' +
    '"auth.mode: none" to let everybody in';
  return { key, message };
}

function listenRules(settings: Settings): BrokenRule[] {
  const { tls } = settings;
  const broken: BrokenRule[] = LISTENERS.flatMap((key) => listenerFault(key, settings) ?? []);
  if ((tls.certFile === '') !== (tls.keyFile === '')) {
    const key = tls.certFile === '' ? 'tls.keyFile' : 'tls.certFile';
    broken.push({ key, message: 'tls.certFile and tls.keyFile are set together or not at all' });
  }
  return broken;
}

function authRules({ auth, tenancy }: Settings): BrokenRule[] {
  const broken: BrokenRule[] = [];
  const { credentials, mode } = auth;
  if (mode === 'none' && credentials.length > 0) {
    const message =
      'auth.mode: none lets everybody in, and auth.credentials lists who may; remove one of them';
    broken.push({ key: 'auth.mode', message });
  }
  const names = new Set<string>();
  for (const [index, credential] of credentials.entries()) {
    const fault = names.has(credential.name)
      ? `the name ${credential.name} is given twice`
      : credentialFault(credential, tenancy);
    names.add(credential.name);
    if (fault !== undefined) {
      broken.push({ key: 'auth.credentials', message: `auth.credentials[${index}]: ${fault}` });
    }
  }
  return broken;
}

function credentialFault(
  { tokenFile, passwordFile, tenant }: CredentialSettings,
  tenancy: Settings['tenancy'],
): string | undefined {
  if ((tokenFile === undefined) === (passwordFile === undefined)) {
    return 'exactly one of tokenFile and passwordFile must be given';
  }
  if (tenant === undefined) return undefined;
  if (tenancy === 'off') return 'a tenant means nothing while tenancy is off';
  const fault = tenantFault(tenant);
  return fault === undefined ? undefined : `tenant: ${fault}`;
}

function selectorRules(key: string, selectors: readonly string[]): BrokenRule[] {
  return selectors.flatMap((selector, index) => {
    try {
      parseSelector(selector);
      return [];
    } catch (error) {
      if (!(error instanceof BadMatcher)) throw error;
      return [{ key, message: `${key}[${index}]: ${error.message}` }];
    }
  });
}

function kafkaRules({ log, checkpoint, roles }: Settings): BrokenRule[] {
  const { kafka, kind } = log;
  const broken: BrokenRule[] = [];
  const say = (key: string, message: string) => broken.push({ key, message: `${key}: ${message}` });
  if (kind === 'embedded') {
    const missing = (['receiver', 'scorer'] as const).filter((role) => !roles.includes(role));
    // Alone it needs no log at all.
    if (missing.length > 0 && roles.join() !== 'inference') {
      say(
        'roles',
        `the embedded log is of one process, which must run receiver and scorer; ` +
          `add ${missing.join(' and ')}, or set log.kind to kafka`,
      );
    }
    if (checkpoint.store === 'topic') {
      say('checkpoint.store', 'a topic needs log.kind kafka');
    }
    return broken;
  }
  if (kafka.brokers.length === 0) {
    say('log.kafka.brokers', 'name at least one broker, HOST:PORT, when log.kind is kafka');
  }
  const { tls, sasl } = kafka;
  if (tls.mode === 'off' && tls.caFile + tls.certFile + tls.keyFile !== '') {
    say('log.kafka.tls.mode', 'certificate files mean nothing while it is off');
  }
  if ((tls.certFile === '') !== (tls.keyFile === '')) {
    say('log.kafka.tls.certFile', 'it is set together with log.kafka.tls.keyFile or not at all');
  }
  const isNamed = sasl.username !== '' && sasl.passwordFile !== '';
  if (sasl.mechanism === 'none' ? sasl.username + sasl.passwordFile !== '' : !isNamed) {
    say(
      'log.kafka.sasl.mechanism',
      'mechanism, username and passwordFile are set together or not at all',
    );
  }
  return broken;
}

function labelRules(ingest: Settings['ingest']): BrokenRule[] {
  const { stripLabels, partitionBy } = ingest;
  const broken: BrokenRule[] = [];
  const key = 'ingest.stripLabels';
  if (stripLabels.includes('__name__')) {
    const message = `${key}: without its __name__ a series is nothing; list it in ingest.drop`;
    broken.push({ key, message });
  }
  const names = new Set([...stripLabels, ...partitionBy.flat()]);
  if (names.size > PARTITION_AND_STRIP_LABELS_MAX) {
    const message =
      `${key} and ingest.partitionBy name ${names.size} labels, at most ` +
      `${PARTITION_AND_STRIP_LABELS_MAX} are looked for`;
    broken.push({ key, message });
  }
  return [...broken, ...replicaRules(ingest)];
}

function replicaRules(ingest: Settings['ingest']): BrokenRule[] {
  const { replicas, clusterLabel, replicaLabel, stripLabels, partitionBy } = ingest;
  if (replicas === 'off') return [];
  const broken: BrokenRule[] = [];
  if (clusterLabel === replicaLabel || [clusterLabel, replicaLabel].includes('__name__')) {
    const message = 'ingest.clusterLabel and ingest.replicaLabel are two labels, and not __name__';
    broken.push({ key: 'ingest.replicaLabel', message });
  }
  for (const name of [clusterLabel, replicaLabel].filter((label) => stripLabels.includes(label))) {
    const message = `ingest.stripLabels: replicas are told apart by ${name}; remove it from the list`;
    broken.push({ key: 'ingest.stripLabels', message });
  }
  if (partitionBy.flat().includes(replicaLabel)) {
    const message = `ingest.partitionBy: ${replicaLabel} is removed, and cannot decide the partition`;
    broken.push({ key: 'ingest.partitionBy', message });
  }
  return broken;
}

function alertRules({ alertmanagers }: Settings['alerts']): BrokenRule[] {
  const key = 'alerts.alertmanagers';
  return alertmanagers.flatMap((url, index) =>
    URL.canParse(url) ? [] : [{ key, message: `${key}[${index}]: ${url} is no address` }],
  );
}

function scorerRules({ api, roles }: Settings): BrokenRule[] {
  const key = 'api.scorers';
  const broken = api.scorers.flatMap((url, index) =>
    URL.canParse(url) ? [] : [{ key, message: `${key}[${index}]: ${url} is no address` }],
  );
  if (api.scorers.length > 0 && roles.includes('api') && roles.includes('scorer')) {
    const message = `${key}: an api beside a scorer answers for that one alone; give it a process of its own`;
    broken.push({ key, message });
  }
  if (api.scorers.length === 0 && api.scorersTokenFile !== '') {
    const tokenKey = 'api.scorersTokenFile';
    broken.push({ key: tokenKey, message: `${tokenKey}: it means nothing without ${key}` });
  }
  return broken;
}

function detectionRules({ detection }: Settings): BrokenRule[] {
  const key = 'detection.rules';
  return detection.rules.flatMap((rule, index) => {
    const broken = selectorRules(`${key}[${index}].match`, rule.match);
    const { needed, among } = needOf(rule);
    if (needed > among || among > NOISE_SAMPLES_MAX) {
      const message = `${key}[${index}].of: ${rule.of} is not N/M with N up to M and M up to ${NOISE_SAMPLES_MAX}`;
      broken.push({ key, message });
    }
    return broken.map(({ message }) => ({ key, message }));
  });
}

function deepCheckRules({ deepCheck }: Settings): BrokenRule[] {
  const { runtime, remote, remoteTokenFile } = deepCheck;
  const key = 'deepCheck.remote';
  if (runtime === 'remote' && remote === '') {
    return [
      { key, message: `${key}: give the address of the server that deepCheck.runtime names` },
    ];
  }
  if (remote !== '' && !URL.canParse(remote)) {
    return [{ key, message: `${key}: ${remote} is no address` }];
  }
  if (remote === '' && remoteTokenFile !== '') {
    const tokenKey = 'deepCheck.remoteTokenFile';
    return [{ key: tokenKey, message: `${tokenKey}: it means nothing without ${key}` }];
  }
  return [];
}
