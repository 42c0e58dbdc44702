// A real node beside the control plane: containerd with runc, kubelet and kube-proxy, so that pods truly run and Services
// have addresses. It wants root and a network and mount namespace of its own, from which nothing leads out:
//
//   bash test/kubernetes/images.sh /tmp/images
//   TREELINE_NODE=1 IMAGES=/tmp/images unshare --net --mount npx vitest run --config test/kubernetes/vitest.config.ts
//
// Built from their modules like the control plane; runc, the CNI plugins and iptables come from Debian. What is missing is
// fetched and built before the network is left: run it once without `unshare`, which ends with that sentence.

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { goProgram } from '../go-peers/go-program.js';
import { packageFolder } from '../peers.js';
import { eventually, type Program, startProgram } from '../programs.js';
import { type Cluster, kubernetesProgram } from './control-plane.js';
import { PAUSE } from './node-images.js';

const execute = promisify(execFile);
const READY_MS_MAX = 120_000;
export const NODE_ADDRESS = '10.200.0.1';
const POD_NETWORK = '10.244.0.0/24';

export interface NodeTools {
  containerd: string;
  shim: string;
  ctr: string;
  kubelet: string;
  proxy: string;
  runc: string;
  plugins: string;
  iptables: string;
  libraries: string;
}

/** Are we where a node may be set up: root, with no address but our own? */
export function isOwnNamespace(): boolean {
  const addresses = Object.keys(networkInterfaces()).filter((name) => name !== 'lo');
  return process.getuid?.() === 0 && addresses.every((name) => /^(node0|cni0|veth)/.test(name));
}

/** To be called where registries can be reached. */
export async function nodeTools(): Promise<NodeTools> {
  const source = fileURLToPath(new URL('containerd', import.meta.url));
  const own = (name: string) =>
    goProgram({
      name,
      source,
      target: `github.com/containerd/containerd/v2/cmd/${name}`,
      flags: ['-ldflags', '-s -w'],
    });
  const library = 'usr/lib/x86_64-linux-gnu';
  const libraries = [];
  for (const [name, file] of Object.entries({
    libip4tc2: 'libip4tc.so.2',
    libip6tc2: 'libip6tc.so.2',
    libxtables12: 'libxtables.so.12',
    'libnetfilter-conntrack3': 'libnetfilter_conntrack.so.3',
    libnfnetlink0: 'libnfnetlink.so.0',
    libnftnl11: 'libnftnl.so.11',
    libmnl0: 'libmnl.so.0',
  })) {
    libraries.push(join(await packageFolder(name, join(library, file)), library));
  }
  const runc = await packageFolder('runc', 'usr/sbin/runc');
  const plugins = await packageFolder('containernetworking-plugins', 'usr/lib/cni/bridge');
  return {
    containerd: await own('containerd'),
    shim: await own('containerd-shim-runc-v2'),
    ctr: await own('ctr'),
    kubelet: await kubernetesProgram('kubelet'),
    proxy: await kubernetesProgram('kube-proxy'),
    runc: join(runc, 'usr/sbin/runc'),
    plugins: join(plugins, 'usr/lib/cni'),
    iptables: await packageFolder('iptables', 'usr/sbin/xtables-nft-multi'),
    libraries: libraries.join(delimiter),
  };
}

export interface RealNode {
  stop(): Promise<void>;
}

/** `images`: docker archives. `directory` is where it keeps everything. */
export async function startNode(
  cluster: Cluster,
  { tools, images, directory }: { tools: NodeTools; images: readonly string[]; directory: string },
): Promise<RealNode> {
  const running: Program[] = [];
  const bin = join(directory, 'bin');
  linkPrograms(bin, tools);
  const environment = {
    PATH: [bin, process.env['PATH'], '/usr/sbin', '/sbin'].join(delimiter),
    LD_LIBRARY_PATH: tools.libraries,
    XTABLES_LIBDIR: join(tools.iptables, 'usr/lib/x86_64-linux-gnu/xtables'),
  };
  const start = async (file: string, args: readonly string[]) => {
    running.push(await startProgram(file, args, { directory, environment }));
  };
  const stop = async () => {
    await execute('/bin/sh', ['-c', STOP_CONTAINERS], {
      env: { ...process.env, ...environment, CTR_SOCKET: socket },
    }).catch(() => undefined);
    for (const program of running.reverse()) await program.stop().catch(() => undefined);
  };
  const socket = join(directory, 'containerd.sock');
  try {
    writeFileSync(
      join(directory, 'containerd.toml'),
      containerdConfig({ directory, socket, tools }),
    );
    mkdirSync(join(directory, 'cni'), { recursive: true });
    writeFileSync(join(directory, 'cni/10-pods.conflist'), JSON.stringify(POD_NETWORK_CONFIG));
    await start(join(bin, 'containerd'), ['--config', join(directory, 'containerd.toml')]);
    const ctr = (...args: string[]) =>
      execute(join(bin, 'ctr'), ['-a', socket, '-n', 'k8s.io', ...args], { maxBuffer: 1 << 24 });
    await eventually('containerd', READY_MS_MAX, () => ctr('version').catch(() => undefined));
    for (const image of images) await ctr('images', 'import', '--local', image);
    writeFileSync(
      join(directory, 'kubelet.yaml'),
      JSON.stringify(kubeletConfig(directory, socket)),
    );
    const name = ['--kubeconfig', cluster.kubeconfig, '--hostname-override', 'real'];
    await start(join(bin, 'kubelet'), [
      ...name,
      ...['--config', join(directory, 'kubelet.yaml'), '--root-dir', join(directory, 'kubelet')],
      ...['--node-ip', NODE_ADDRESS],
    ]);
    await start(join(bin, 'kube-proxy'), [
      ...name,
      ...[
        '--proxy-mode',
        'iptables',
        '--conntrack-max-per-core',
        '0',
        '--cluster-cidr',
        POD_NETWORK,
      ],
      ...['--bind-address', '127.0.0.1'],
    ]);
    await eventually('the node to be ready', READY_MS_MAX, () =>
      cluster
        .kubectl('wait', '--for=condition=Ready', 'node', 'real', '--timeout=1s')
        .catch(() => undefined),
    );
    return { stop };
  } catch (error) {
    const said = running.map((program) => program.stderr().slice(-3_000)).join('\n---\n');
    await stop();
    throw new Error(`The node does not start: ${(error as Error).message}\n${said}`);
  }
}

/** Before the control plane: a new namespace has not even a loopback. */
export async function setUpNetwork(): Promise<void> {
  const ip = (...args: string[]) => execute('ip', args);
  await execute('mount', ['--make-rshared', '/']);
  await ip('link', 'set', 'lo', 'up');
  // A file of tests before this one has set it up.
  if (networkInterfaces()['node0'] !== undefined) return;
  await ip('link', 'add', 'node0', 'type', 'bridge');
  await ip('addr', 'add', `${NODE_ADDRESS}/24`, 'dev', 'node0');
  await ip('link', 'set', 'node0', 'up');
  // kube-proxy wants a default route; it leads nowhere.
  await ip('route', 'add', 'default', 'via', NODE_ADDRESS, 'dev', 'node0');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

function linkPrograms(bin: string, tools: NodeTools): void {
  mkdirSync(bin, { recursive: true });
  const link = (name: string, target: string) => {
    if (!existsSync(join(bin, name))) symlinkSync(target, join(bin, name));
  };
  link('containerd', tools.containerd);
  link('containerd-shim-runc-v2', tools.shim);
  link('ctr', tools.ctr);
  link('kubelet', tools.kubelet);
  link('kube-proxy', tools.proxy);
  link('runc', tools.runc);
  const multi = join(tools.iptables, 'usr/sbin/xtables-nft-multi');
  for (const family of ['iptables', 'ip6tables']) {
    for (const suffix of ['', '-save', '-restore']) link(`${family}${suffix}`, multi);
  }
}

const POD_NETWORK_CONFIG = {
  cniVersion: '1.0.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: POD_NETWORK }]],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
  ],
};

function containerdConfig({
  directory,
  socket,
  tools,
}: {
  directory: string;
  socket: string;
  tools: NodeTools;
}): string {
  const plugin = 'io.containerd.cri.v1';
  return `version = 3
root = "${directory}/containerd"
state = "${directory}/containerd-run"
[grpc]
  address = "${socket}"
[plugins."${plugin}.images".pinned_images]
  sandbox = "${PAUSE}"
[plugins."${plugin}.runtime"]
  restrict_oom_score_adj = true
  [plugins."${plugin}.runtime".cni]
    bin_dirs = ["${tools.plugins}"]
    conf_dir = "${directory}/cni"
  [plugins."${plugin}.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."${plugin}.runtime".containerd.runtimes.runc.options]
      BinaryName = "${directory}/bin/runc"
      SystemdCgroup = false
`;
}

function kubeletConfig(directory: string, socket: string): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    // Where the API server asks for logs.
    address: NODE_ADDRESS,
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    readOnlyPort: 0,
    cgroupDriver: 'cgroupfs',
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    localStorageCapacityIsolation: false,
    containerRuntimeEndpoint: `unix://${socket}`,
    resolvConf: '',
    // See cluster-dns.ts.
    clusterDNS: [NODE_ADDRESS],
    clusterDomain: 'cluster.local',
    podLogsDir: join(directory, 'pod-logs'),
    evictionHard: { 'memory.available': '50Mi' },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
  };
}

/** Containers outlive containerd; what is left of them is ended by its own tool. */
const STOP_CONTAINERS =
  'for t in $(ctr -a "$CTR_SOCKET" -n k8s.io tasks ls -q); do ctr -a "$CTR_SOCKET" -n k8s.io tasks kill -s KILL "$t"; done';
