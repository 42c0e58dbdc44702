// Judges objects of kinds that are not Kubernetes' own by the validators of their operators. Those refuse a wrong type or a
// missing field, but know nothing of fields that nobody asked for; so every field name of ours must also stand in the
// validator, or in one that it calls. Maps whose keys are free are left out.

import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type ResourceModels, resourceModels } from './chart-programs.js';
import type { Rendered } from './chart-render.js';

const VALIDATORS: Record<string, [models: ResourceModels, file: string]> = {
  ServiceMonitor: [
    'prometheus-operator',
    'ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1ServiceMonitor',
  ],
  PodMonitor: [
    'prometheus-operator',
    'ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1PodMonitor',
  ],
  PrometheusRule: [
    'prometheus-operator',
    'ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1PrometheusRule',
  ],
  ScaledObject: ['keda', 'ComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObject'],
  TriggerAuthentication: ['keda', 'ComGithubKedacoreKedaV2ApisKedaV1alpha1TriggerAuthentication'],
  HTTPRoute: ['gateway-api', 'IoK8sSigsGatewayApiApisV1HTTPRoute'],
  ExternalSecret: [
    'external-secrets',
    'ComGithubExternalSecretsExternalSecretsApisExternalsecretsV1ExternalSecret',
  ],
  VerticalPodAutoscaler: ['autoscaler', 'AutoscalingK8sIoV1VerticalPodAutoscaler'],
};
const FREE_KEYS = new Set([
  'matchLabels',
  'labels',
  'annotations',
  'metadata',
  'minAllowed',
  'maxAllowed',
  // Kubernetes' own, and taken as it is by the validators too.
  'behavior',
]);

export const CUSTOM_KINDS = Object.keys(VALIDATORS);

interface Validator {
  (object: unknown): boolean;
  errors?: { instancePath: string; keyword: string; params: unknown }[];
}

/** What is wrong with it, one sentence each. */
export async function customFaults(object: Rendered): Promise<string[]> {
  const [models, file] = VALIDATORS[object.kind] as [ResourceModels, string];
  const folder = join(await resourceModels(), models, '_schemas');
  const path = join(folder, `${file}.js`);
  const { validate } = (await import(pathToFileURL(path).href)) as { validate: Validator };
  const faults = validate(object)
    ? []
    : (validate.errors ?? []).map(
        ({ instancePath, params }) => `${instancePath}: ${JSON.stringify(params)}`,
      );
  const known = await sourcesOf(path, new Map());
  for (const key of keysIn(object['spec'])) {
    if (!new RegExp(`[."]${key}\\b`).test(known)) faults.push(`unknown field ${key}`);
  }
  return faults;
}

/** The text of a validator and of those that it calls. */
async function sourcesOf(path: string, seen: Map<string, string>): Promise<string> {
  const text = await readFile(path, 'utf8');
  seen.set(path, text);
  for (const [, other = ''] of text.matchAll(/from ?"([^"]+)"/g)) {
    // Types of Kubernetes' own come from a package beside these.
    const next = other.startsWith('.') ? join(dirname(path), other) : inPackage(path, other);
    if (next === undefined) continue;
    if (!seen.has(next)) await sourcesOf(next, seen);
  }
  return [...seen.values()].join('\n');
}

function inPackage(path: string, name: string): string | undefined {
  if (!name.includes('/_schemas/')) return undefined;
  const modules = path.slice(0, path.lastIndexOf('/node_modules/') + '/node_modules/'.length);
  return join(modules, name.endsWith('.js') ? name : `${name}.js`);
}

function keysIn(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(keysIn);
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) => [
    key,
    ...(FREE_KEYS.has(key) ? [] : keysIn(value)),
  ]);
}
