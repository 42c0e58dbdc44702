// A real Kubernetes control plane on loopback: etcd, API server, controller manager and scheduler, built from their own
// modules, and kwok, which plays the nodes: pods that are scheduled there become Running and Ready without running. So all
// that an API server, its admission and its controllers decide is real, and nothing a container does.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { helmPrograms } from '../chart-programs.js';
import { goProgram } from '../go-peers/go-program.js';
import {
  eventually,
  freePort,
  type Program,
  removeDirectory,
  startProgram,
  temporaryDirectory,
} from '../programs.js';

const execute = promisify(execFile);

export const KUBERNETES_VERSION = '1.36.3';
const READY_MS_MAX = 180_000;
const COMMAND_MS_MAX = 240_000;
const OUTPUT_BYTES_MAX = 32 * 1024 * 1024;
const NODES = 3;

export interface Cluster {
  kubeconfig: string;
  kubectl(...args: string[]): Promise<string>;
  /** Standard output and error together; rejects with both. */
  helm(major: 3 | 4, ...args: string[]): Promise<string>;
  apply(text: string, ...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Minutes of building the first time. Without fake nodes there are none until somebody brings one. */
export async function startCluster({ hasFakeNodes = true } = {}): Promise<Cluster> {
  const binaries = await controlPlanePrograms();
  const directory = temporaryDirectory('cluster');
  const running: Program[] = [];
  const start = async (file: string, args: readonly string[], folder = directory) => {
    const program = await startProgram(file, args, { directory: folder });
    running.push(program);
    return program;
  };
  const stop = async () => {
    for (const program of running.reverse()) await program.stop();
    removeDirectory(directory);
  };
  try {
    const kubeconfig = await startServers(binaries, { directory, start });
    const commands = await tools(kubeconfig, directory);
    const cluster = { ...commands, kubeconfig, stop: () => removeVolumes(commands).then(stop) };
    await cluster.apply(
      hasFakeNodes ? [...FAKE_NODES, STORAGE_CLASS].join('---\n') : STORAGE_CLASS,
    );
    await startControllers(binaries, { directory, kubeconfig, start, hasFakeNodes });
    const ready = () =>
      cluster
        .kubectl('wait', '--for=condition=Ready', 'node', '--all', '--timeout=1s')
        .catch(() => undefined);
    if (hasFakeNodes) await eventually('the nodes to be ready', READY_MS_MAX, ready);
    const account = () =>
      cluster.kubectl('get', 'serviceaccount', 'default').catch(() => undefined);
    await eventually('the first service account', READY_MS_MAX, account);
    return cluster;
  } catch (error) {
    const said = running.map((program) => program.stderr().slice(-1_500)).join('\n---\n');
    await stop();
    throw new Error(`The control plane does not start: ${(error as Error).message}\n${said}`);
  }
}

/** The controller manager makes them beside our directory. */
async function removeVolumes({ kubectl }: Pick<Cluster, 'kubectl'>): Promise<void> {
  const folders = await kubectl('get', 'pv', '-o', 'jsonpath={.items[*].spec.hostPath.path}');
  for (const folder of folders.trim().split(' ')) {
    if (folder.startsWith('/tmp/hostpath_pv/')) removeDirectory(folder);
  }
}

export interface Binaries {
  etcd: string;
  apiserver: string;
  controllerManager: string;
  scheduler: string;
  kwok: string;
}

/** Built on first use, where registries can be reached. */
export async function controlPlanePrograms(): Promise<Binaries> {
  const own = kubernetesProgram;
  // One after another: each of them takes both cores.
  return {
    etcd: await ownProgram({ name: 'etcd', target: 'go.etcd.io/etcd/server/v3' }),
    scheduler: await own('kube-scheduler'),
    apiserver: await own('kube-apiserver'),
    controllerManager: await own('kube-controller-manager'),
    kwok: await goProgram({
      name: 'kwok',
      source: fileURLToPath(new URL('kwok', import.meta.url)),
      target: 'sigs.k8s.io/kwok/cmd/kwok',
      flags: ['-ldflags', '-s -w'],
    }),
  };
}

/** kubelet, kube-proxy and so on, of KUBERNETES_VERSION. */
export function kubernetesProgram(name: string): Promise<string> {
  return ownProgram({ name, target: `k8s.io/kubernetes/cmd/${name}` });
}

function ownProgram(program: { name: string; target: string }): Promise<string> {
  const source = fileURLToPath(new URL('control-plane', import.meta.url));
  const [major, minor] = KUBERNETES_VERSION.split('.');
  // Without these the server calls itself v0.0.0, and a chart's kubeVersion refuses it.
  const stamps = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap(
    (place) =>
      Object.entries({
        gitVersion: `v${KUBERNETES_VERSION}`,
        gitMajor: major,
        gitMinor: minor,
        gitTreeState: 'clean',
        buildDate: '1970-01-01T00:00:00Z',
      }).map(([name, value]) => `-X ${place}.${name}=${value}`),
  );
  const flags = ['-ldflags', ['-s', '-w', ...stamps].join(' ')];
  return goProgram({ ...program, source, flags });
}

interface Starting {
  directory: string;
  start(file: string, args: readonly string[], folder?: string): Promise<Program>;
}

/** etcd and the API server; returns the file that says how to reach it. */
async function startServers(binaries: Binaries, { directory, start }: Starting): Promise<string> {
  const [etcd, peer, api] = [await freePort(), await freePort(), await freePort()];
  const address = (port: number) => `http://127.0.0.1:${port}`;
  await start(binaries.etcd, [
    ...['--name', 'test', '--data-dir', join(directory, 'etcd'), '--log-level', 'error'],
    // The state is thrown away.
    '--unsafe-no-fsync',
    ...['--listen-client-urls', address(etcd), '--advertise-client-urls', address(etcd)],
    ...['--listen-peer-urls', address(peer), '--initial-advertise-peer-urls', address(peer)],
    ...['--initial-cluster', `test=${address(peer)}`],
  ]);
  const key = join(directory, 'accounts.key');
  await execute('openssl', ['genrsa', '-out', key, '2048']);
  const token = randomBytes(16).toString('hex');
  const tokens = join(directory, 'tokens.csv');
  writeFileSync(tokens, `${token},tester,tester,"system:masters"\n`, { mode: 0o600 });
  const certificates = join(directory, 'certificates');
  await start(binaries.apiserver, [
    ...['--etcd-servers', address(etcd), '--cert-dir', certificates],
    ...['--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1'],
    ...['--secure-port', `${api}`, '--endpoint-reconciler-type', 'none'],
    ...['--service-cluster-ip-range', '10.96.0.0/16', '--authorization-mode', 'RBAC'],
    ...['--token-auth-file', tokens, '--service-account-key-file', key],
    ...['--service-account-signing-key-file', key],
    ...['--service-account-issuer', 'https://kubernetes.default.svc'],
    '--kubelet-preferred-address-types=InternalIP',
    '--profiling=false',
  ]);
  const kubeconfig = join(directory, 'kubeconfig');
  const server = `https://127.0.0.1:${api}`;
  const cluster = { server, 'certificate-authority': join(certificates, 'apiserver.crt') };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'test', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  const { kubectl } = await tools(kubeconfig, directory);
  await eventually('the API server', READY_MS_MAX, () =>
    kubectl('get', '--raw', '/readyz').catch(() => undefined),
  );
  return kubeconfig;
}

async function startControllers(
  binaries: Binaries,
  {
    directory,
    kubeconfig,
    start,
    hasFakeNodes,
  }: Starting & { kubeconfig: string; hasFakeNodes: boolean },
): Promise<void> {
  const volumes = join(directory, 'volumes');
  mkdirSync(volumes);
  const common = ['--kubeconfig', kubeconfig];
  const alone = ['--leader-elect=false', '--bind-address', '127.0.0.1', '--secure-port'];
  await start(
    binaries.controllerManager,
    [
      ...common,
      ...alone,
      `${await freePort()}`,
      ...['--service-account-private-key-file', join(directory, 'accounts.key')],
      '--use-service-account-credentials',
      // For STORAGE_CLASS.
      '--enable-hostpath-provisioner',
    ],
    volumes,
  );
  await start(binaries.scheduler, [...common, ...alone, `${await freePort()}`]);
  if (!hasFakeNodes) return;
  const stages = join(directory, 'kwok.yaml');
  writeFileSync(stages, await stagesOfNodes());
  await start(binaries.kwok, [
    ...common,
    ...['--config', stages, '--manage-all-nodes=false'],
    ...['--manage-nodes-with-annotation-selector', 'kwok.x-k8s.io/node=fake'],
    ...['--node-lease-duration-seconds', '40', '--server-address', `127.0.0.1:${await freePort()}`],
  ]);
}

/** How nodes and pods go on is written in kwok's own module; ours is what becomes of a pod of `helm test`. */
async function stagesOfNodes(): Promise<string> {
  const folder = fileURLToPath(new URL('kwok', import.meta.url));
  const { stdout } = await execute('go', ['list', '-m', '-f', '{{.Dir}}', 'sigs.k8s.io/kwok'], {
    cwd: folder,
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/local/go/bin` },
  });
  const root = join(stdout.trim(), 'kustomize/stage');
  const files = [
    'node/fast/node-initialize.yaml',
    'node/heartbeat-with-lease/node-heartbeat-with-lease.yaml',
    'pod/fast/pod-ready.yaml',
    'pod/fast/pod-complete.yaml',
    'pod/fast/pod-delete.yaml',
  ];
  return [...files.map((file) => readFileSync(join(root, file), 'utf8')), TEST_POD_STAGE].join(
    '\n---\n',
  );
}

async function tools(
  kubeconfig: string,
  directory: string,
): Promise<Pick<Cluster, 'kubectl' | 'helm' | 'apply'>> {
  const home = join(directory, 'home');
  mkdirSync(home, { recursive: true });
  const env = { PATH: process.env['PATH'], HOME: home, KUBECONFIG: kubeconfig };
  const options = { env, timeout: COMMAND_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX };
  const run = async (file: string, args: readonly string[]) => {
    try {
      const { stdout, stderr } = await execute(file, args, options);
      return stdout + stderr;
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      throw new Error(stdout + stderr || (error as Error).message);
    }
  };
  const { kubectl } = await helmPrograms(4);
  return {
    kubectl: (...args) => run(kubectl, args),
    helm: async (major, ...args) => run((await helmPrograms(major)).helm, args),
    apply: (text, ...args) => {
      const file = join(directory, `apply-${randomBytes(4).toString('hex')}.yaml`);
      writeFileSync(file, text);
      return run(kubectl, ['apply', '-f', file, ...args]);
    },
  };
}

const FAKE_NODES = Array.from(
  { length: NODES },
  (_, index) => `apiVersion: v1
kind: Node
metadata:
  name: fake-${index}
  annotations: { kwok.x-k8s.io/node: fake }
  labels:
    kubernetes.io/hostname: fake-${index}
    kubernetes.io/os: linux
    topology.kubernetes.io/zone: zone-${index}
    topology.kubernetes.io/region: eu-west-1
    nvidia.com/gpu.present: "true"
status:
  allocatable: &room { cpu: "32", memory: 128Gi, pods: "110", nvidia.com/gpu: "4" }
  capacity: *room
`,
);

/** Claims of this class are bound without any driver: the controller manager makes a folder for each. */
const STORAGE_CLASS = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: folders
  annotations: { storageclass.kubernetes.io/is-default-class: "true" }
provisioner: kubernetes.io/host-path
volumeBindingMode: Immediate
`;

/** A Job's pod is completed by kwok's own stage; a bare one would run for ever. */
const TEST_POD_STAGE = `apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: { name: test-pod-completes }
spec:
  resourceRef: { apiGroup: v1, kind: Pod }
  selector:
    matchExpressions:
      - { key: .metadata.deletionTimestamp, operator: DoesNotExist }
      - { key: .status.phase, operator: In, values: [Running] }
      - { key: '.metadata.annotations["helm.sh/hook"]', operator: Exists }
  next:
    statusTemplate: |
      {{ $now := Now }}
      phase: Succeeded
      containerStatuses:
      {{ range .spec.containers }}
      - name: {{ .name | Quote }}
        image: {{ .image | Quote }}
        ready: false
        restartCount: 0
        state: { terminated: { exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }} } }
      {{ end }}
`;
