// Seeded remote-write bodies, of both versions, that look like what a Kubernetes cluster's Prometheus sends: half
// node_exporter, half kube-state-metrics and cAdvisor, about a dozen labels a series, most of them
// shared, a few (pod, uid, device) nearly unique. The same seed gives the same bytes on every
// machine.

import { create, toBinary } from '@bufbuild/protobuf';
import { compressSync } from 'snappy';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { Metadata_MetricType, RequestSchema } from '../src/gen/remote_write_v2_pb.js';
import type { Label } from '../src/series.js';

export interface WriteRequests {
  seed: number;
  series: number;
  samplesPerSeries: number;
}

interface Metric {
  name: string;
  isCounter: boolean;
  /** Labels that only this metric has. */
  own: (random: Random) => Label[];
}

type Random = () => number;

interface Pod {
  namespace: string;
  app: string;
  pod: string;
  uid: string;
  node: string;
}

const START_MS = 1_763_680_000_123;
const STEP_MS = 15_000;
const NODES = 8;
const PODS = 150;
const NAMESPACES = ['shop', 'payments', 'platform', 'ingress', 'kube-system'];
const APPS = ['checkout', 'cart', 'payments-api', 'search', 'frontend', 'ledger-writer', 'broker'];
const CPU_MODES = ['idle', 'user', 'system', 'iowait', 'irq', 'softirq', 'steal', 'nice'];

const NODE_METRICS: readonly Metric[] = [
  { name: 'node_cpu_seconds_total', isCounter: true, own: cpuLabels },
  { name: 'node_network_receive_bytes_total', isCounter: true, own: networkLabels },
  { name: 'node_network_transmit_bytes_total', isCounter: true, own: networkLabels },
  { name: 'node_disk_io_time_seconds_total', isCounter: true, own: diskLabels },
  { name: 'node_filesystem_avail_bytes', isCounter: false, own: filesystemLabels },
  { name: 'node_filesystem_size_bytes', isCounter: false, own: filesystemLabels },
];

const POD_METRICS: readonly Metric[] = [
  { name: 'kube_pod_container_resource_requests', isCounter: false, own: resourceLabels },
  { name: 'kube_pod_container_status_restarts_total', isCounter: true, own: () => [] },
  { name: 'kube_pod_status_phase', isCounter: false, own: phaseLabels },
  { name: 'kube_pod_container_status_ready', isCounter: false, own: () => [] },
  { name: 'container_cpu_usage_seconds_total', isCounter: true, own: () => [] },
  { name: 'container_memory_working_set_bytes', isCounter: false, own: () => [] },
];

/** xorshift128 from a seed, uniform in [0, 1). */
export function randomFrom(seed: number): Random {
  let a = seed | 0 || 1;
  let b = Math.imul(a, 0x9e3779b1) ^ 0x85ebca6b;
  let c = Math.imul(b, 0x85ebca6b) ^ 0xc2b2ae35;
  let d = Math.imul(c, 0xc2b2ae35) ^ 0x27d4eb2f;
  const random = (): number => {
    const t = a ^ (a << 11);
    a = b;
    b = c;
    c = d;
    d = d ^ (d >>> 19) ^ t ^ (t >>> 8);
    return (d >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) random();
  return random;
}

/** The uncompressed 1.0 request. */
export function writeRequest(options: WriteRequests): Uint8Array {
  const timeseries = pointsOf(options).map(({ labels, samples }) => ({ labels, samples }));
  return toBinary(WriteRequestSchema, create(WriteRequestSchema, { timeseries }));
}

/** The same series and samples as 2.0, with metadata, and start timestamps of the counters. */
export function writeRequestV2(options: WriteRequests): Uint8Array {
  const symbols = new Map([['', 0]]);
  const refer = (text: string): number => {
    const known = symbols.get(text);
    if (known !== undefined) return known;
    symbols.set(text, symbols.size);
    return symbols.size - 1;
  };
  const timeseries = pointsOf(options).map(({ labels, samples, isCounter }) => {
    const name = labels.find((each) => each.name === '__name__')!.value;
    return {
      labelsRefs: labels.flatMap((each) => [refer(each.name), refer(each.value)]),
      samples: samples.map((each) =>
        isCounter ? { ...each, startTimestamp: BigInt(START_MS - 864e5) } : each,
      ),
      metadata: {
        type: isCounter ? Metadata_MetricType.COUNTER : Metadata_MetricType.GAUGE,
        helpRef: refer(`What ${name} counts or measures, in a sentence.`),
        unitRef: refer(/_(bytes|seconds)/.exec(name)?.[1] ?? ''),
      },
    };
  });
  const request = create(RequestSchema, { symbols: [...symbols.keys()], timeseries });
  return toBinary(RequestSchema, request);
}

export function writeRequestBody(options: WriteRequests): Uint8Array {
  return compressSync(Buffer.from(writeRequest(options)));
}

export function writeRequestBodyV2(options: WriteRequests): Uint8Array {
  return compressSync(Buffer.from(writeRequestV2(options)));
}

function pointsOf(options: WriteRequests) {
  const random = randomFrom(options.seed);
  return labelSets(options.series, random).map(({ labels, isCounter }) => {
    const start = isCounter ? random() * 1e6 : Math.floor(random() * 1e10);
    const samples = Array.from({ length: options.samplesPerSeries }, (_, k) => ({
      value: isCounter ? start + k * random() * 15 : start,
      timestamp: BigInt(START_MS + k * STEP_MS),
    }));
    return { labels, samples, isCounter };
  });
}

function labelSets(count: number, random: Random): { labels: Label[]; isCounter: boolean }[] {
  const nodes = Array.from({ length: NODES }, (_, i) => `ip-10-0-${i}-${(17 * i) % 250}.example`);
  const exporters = nodes.map(() => `node-exporter-${hex(5, random)}`);
  const pods = Array.from({ length: PODS }, () => randomPod(nodes, random));
  const seen = new Set<string>();
  const sets: { labels: Label[]; isCounter: boolean }[] = [];
  while (sets.length < count) {
    let metric: Metric;
    let labels: Label[];
    if (sets.length % 2 === 0) {
      const i = Math.floor(random() * NODES);
      metric = pick(NODE_METRICS, random);
      const instance = `10.0.${i}.${(17 * i) % 250}:9100`;
      const target = {
        job: 'node-exporter',
        instance,
        pod: exporters[i]!,
        namespace: 'monitoring',
      };
      labels = [...targetLabels(target), label('node', nodes[i]!)];
    } else {
      const pod = pick(pods, random);
      metric = pick(POD_METRICS, random);
      const target = { ...pod, job: 'kube-state-metrics', instance: '10.42.3.17:8080' };
      labels = [
        ...targetLabels(target),
        label('container', pod.app),
        label('node', pod.node),
        label('uid', pod.uid),
      ];
    }
    labels.push(...metric.own(random), label('__name__', metric.name));
    labels.sort((x, y) => (x.name < y.name ? -1 : 1));
    const key = JSON.stringify(labels);
    if (seen.has(key)) continue;
    seen.add(key);
    sets.push({ labels, isCounter: metric.isCounter });
  }
  return sets;
}

function targetLabels(target: {
  job: string;
  instance: string;
  pod: string;
  namespace: string;
}): Label[] {
  return [
    label('cluster', 'prod-eu-west-1'),
    label('endpoint', 'metrics'),
    label('instance', target.instance),
    label('job', target.job),
    label('namespace', target.namespace),
    label('pod', target.pod),
    label('prometheus', 'monitoring/k8s'),
    label('service', target.job),
  ];
}

function randomPod(nodes: readonly string[], random: Random): Pod {
  const app = pick(APPS, random);
  const pod = `${app}-${hex(9, random)}-${hex(5, random)}`;
  const uid = [8, 4, 4, 4, 12].map((digits) => hex(digits, random)).join('-');
  return { namespace: pick(NAMESPACES, random), app, pod, uid, node: pick(nodes, random) };
}

function cpuLabels(random: Random): Label[] {
  return [label('cpu', String(Math.floor(random() * 64))), label('mode', pick(CPU_MODES, random))];
}

function networkLabels(random: Random): Label[] {
  const suffix = random() < 0.7 ? `veth${hex(8, random)}` : '';
  return [label('device', pick(['eth0', 'eth1', 'lo', 'docker0'], random) + suffix)];
}

function diskLabels(random: Random): Label[] {
  return [label('device', `nvme${Math.floor(random() * 24)}n1`)];
}

function filesystemLabels(random: Random): Label[] {
  return [
    label('device', `/dev/nvme${Math.floor(random() * 24)}n1p1`),
    label('fstype', pick(['ext4', 'xfs', 'tmpfs'], random)),
    label('mountpoint', `/var/lib/kubelet/pods/${hex(8, random)}`),
  ];
}

function resourceLabels(random: Random): Label[] {
  return [
    label('resource', pick(['cpu', 'memory'], random)),
    label('unit', pick(['core', 'byte'], random)),
  ];
}

function phaseLabels(random: Random): Label[] {
  return [label('phase', pick(['Running', 'Pending', 'Succeeded', 'Failed', 'Unknown'], random))];
}

function label(name: string, value: string): Label {
  return { name, value };
}

function pick<T>(choices: readonly T[], random: Random): T {
  return choices[Math.floor(random() * choices.length)]!;
}

function hex(digits: number, random: Random): string {
  return Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('');
}
