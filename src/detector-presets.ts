// Detectors that need no writing: what most people have. A preset is a detector with its features; who names one may
// change its name, its labels and how its forest is made, and whoever wants other features writes them down.

import type { Aggregate } from './scorer/detectors.js';

export interface PresetFeature {
  name: string;
  match: string[];
  aggregate: Aggregate;
  as?: 'rate';
}

export interface Preset {
  by: string[];
  features: PresetFeature[];
}

/** cAdvisor also reports the sum of a pod's containers, without a name, and its sandbox: neither is a container. */
const CONTAINERS = 'container!="",container!="POD"';

/** Names that pulled queries give to results that have none; see pod-service.ts. */
export const POD_CPU = 'pod_cpu';

export const PRESETS: Readonly<Record<'kubernetes-pods' | 'node' | 'http-service', Preset>> = {
  'kubernetes-pods': {
    by: ['namespace', 'pod'],
    features: [
      {
        name: 'cpu',
        match: [`container_cpu_usage_seconds_total{${CONTAINERS}}`, POD_CPU],
        aggregate: 'sum',
      },
      {
        name: 'memory',
        match: [`container_memory_usage_bytes{${CONTAINERS}}`],
        aggregate: 'sum',
      },
      {
        name: 'restarts',
        match: ['kube_pod_container_status_restarts_total'],
        aggregate: 'sum',
      },
    ],
  },
  node: {
    by: ['instance'],
    features: [
      { name: 'cpu', match: ['node_cpu_seconds_total{mode!~"idle|iowait"}'], aggregate: 'sum' },
      { name: 'load', match: ['node_load1'], aggregate: 'last' },
      { name: 'memory', match: ['node_memory_MemAvailable_bytes'], aggregate: 'last' },
      { name: 'disk', match: ['node_disk_io_time_seconds_total'], aggregate: 'max' },
      {
        name: 'received',
        match: ['node_network_receive_bytes_total{device!="lo"}'],
        aggregate: 'sum',
      },
      {
        name: 'sent',
        match: ['node_network_transmit_bytes_total{device!="lo"}'],
        aggregate: 'sum',
      },
    ],
  },
  'http-service': {
    by: ['namespace', 'pod'],
    features: [
      {
        name: 'requests',
        match: ['http_requests_total', 'http_server_requests_seconds_count'],
        aggregate: 'sum',
      },
      {
        name: 'errors',
        match: [
          'http_requests_total{code=~"5.."}',
          'http_requests_total{status=~"5.."}',
          'http_server_requests_seconds_count{status=~"5.."}',
        ],
        aggregate: 'sum',
      },
      {
        // Made of the buckets: the quantile of what was observed between two scrapes.
        name: 'latency',
        match: [
          'http_request_duration_seconds{quantile="0.99"}',
          'http_server_requests_seconds{quantile="0.99"}',
        ],
        aggregate: 'max',
      },
    ],
  },
};
