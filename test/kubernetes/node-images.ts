// Images for the real node that no registry has to be asked for, as docker archives of one layer each: what keeps a pod's
// namespaces, and for the development Kafka and Redis of the chart the real programs, with the shell and the paths that
// the chart expects of an image. Treeline's own come from the Dockerfile, see images.sh; `renamed` makes of one another.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { kafkaJars } from '../kafka-jars.js';
import { packageFolder } from '../peers.js';
import { redisProgram } from '../redis-peers.js';

const execute = promisify(execFile);
const OUTPUT_BYTES_MAX = 1024 * 1024;
const ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
/** Of a Java for a server: the rest of its lib is sources, symbols and drawing. */
const JAVA_NEEDLESS = /^(src\.zip|ct\.sym|jfr|libawt.*|libfontmanager.*|libfreetype.*)$/;

export const PAUSE = 'localhost/pause:lab';
/** Values of the chart, for both. */
export const DEVELOPMENT_IMAGES = Object.fromEntries(
  ['kafka', 'redis'].map((name) => [
    name,
    { registry: 'localhost', repository: name, tag: 'lab', pullPolicy: 'Never' },
  ]),
);

/** To be called where registries can be reached. Paths of archives in the directory. */
export async function supportImages(directory: string): Promise<string[]> {
  return [
    await pauseImage(join(directory, 'pause')),
    await redisImage(join(directory, 'redis')),
    await kafkaImage(join(directory, 'kafka')),
  ];
}

/** The same files under another name, as another image: its configuration has one more label. */
export async function renamed(archive: string, name: string, directory: string): Promise<string> {
  const folder = join(directory, basename(name).replace(':', '-'));
  mkdirSync(folder, { recursive: true });
  await execute('tar', ['-xf', archive, '-C', folder]);
  const [manifest] = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as {
    Config: string;
    Layers: string[];
  }[];
  if (manifest === undefined) throw new Error(`${archive} holds no image`);
  const config = JSON.parse(await readFile(join(folder, manifest.Config), 'utf8'));
  config.config.Labels = { ...config.config.Labels, 'treeline/name': name };
  return pack(folder, { name, config, layers: manifest.Layers });
}

async function pauseImage(root: string): Promise<string> {
  await addShell(root);
  return image(root, { name: PAUSE, entrypoint: ['/bin/busybox', 'sleep', 'infinity'] });
}

async function redisImage(root: string): Promise<string> {
  await addShell(root);
  const { server, environment } = await redisProgram();
  const place = join(root, 'usr/local/bin/redis-server');
  mkdirSync(dirname(place), { recursive: true });
  cpSync(server, place, { dereference: true });
  await addLibraries(root, [server], environment.LD_LIBRARY_PATH);
  return image(root, { name: 'localhost/redis:lab', entrypoint: ['redis-server'] });
}

async function kafkaImage(root: string): Promise<string> {
  await addShell(root);
  const home = await javaHome();
  const java = join(root, 'opt/java');
  mkdirSync(join(java, 'bin'), { recursive: true });
  cpSync(join(home, 'bin/java'), join(java, 'bin/java'), { dereference: true });
  for (const folder of ['lib', 'conf']) {
    cpSync(join(home, folder), join(java, folder), {
      recursive: true,
      dereference: true,
      filter: (path) => !JAVA_NEEDLESS.test(basename(path)),
    });
  }
  const native = ['libjvm.so', 'libnio.so', 'libnet.so', 'libzip.so', 'libjava.so'];
  const libraries = native.map((name) =>
    join(home, 'lib', name === 'libjvm.so' ? 'server' : '', name),
  );
  await addLibraries(root, [join(home, 'bin/java'), ...libraries]);
  cpSync(await kafkaJars(), join(root, 'opt/kafka/libs'), { recursive: true });
  // The cache is its owner's alone.
  chmodSync(join(root, 'opt/kafka/libs'), 0o755);
  const scripts = {
    'kafka-storage.sh': 'kafka.tools.StorageTool',
    'kafka-server-start.sh': 'kafka.Kafka',
  };
  mkdirSync(join(root, 'opt/kafka/bin'));
  for (const [name, main] of Object.entries(scripts)) {
    const command = `exec /opt/java/bin/java $KAFKA_HEAP_OPTS -cp '/opt/kafka/libs/*' ${main} "$@"`;
    writeFileSync(join(root, 'opt/kafka/bin', name), `#!/bin/sh\n${command}\n`, { mode: 0o755 });
  }
  return image(root, { name: 'localhost/kafka:lab', entrypoint: ['/bin/sh'] });
}

async function javaHome(): Promise<string> {
  const { stderr } = await execute('java', ['-XshowSettings:properties', '-version']);
  const home = /java\.home = (\S+)/.exec(stderr)?.[1];
  if (home === undefined) throw new Error(`Java does not say where it is: ${stderr}`);
  return home;
}

/** One static program by the names that scripts call it. */
async function addShell(root: string): Promise<void> {
  const path = 'bin/busybox';
  const folder = await packageFolder('busybox-static', path);
  mkdirSync(join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'tmp'), { mode: 0o1777 });
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/passwd'), 'nobody:x:65534:65534:nobody:/:/bin/sh\n');
  cpSync(join(folder, path), join(root, path));
  symlinkSync('busybox', join(root, 'bin/sh'));
}

/** Shared libraries of programs, and the loader, by the paths that the loader asks for. */
async function addLibraries(
  root: string,
  programs: readonly string[],
  libraryPath = '',
): Promise<void> {
  const env = { ...process.env, LD_LIBRARY_PATH: libraryPath };
  const { stdout } = await execute('ldd', [...programs], { env, maxBuffer: OUTPUT_BYTES_MAX });
  const loader = /^\s*(\/\S*ld-linux\S+)/m.exec(stdout)?.[1];
  if (loader === undefined) throw new Error(`ldd names no loader: ${stdout}`);
  const place = (path: string, to: string) => {
    mkdirSync(dirname(join(root, to)), { recursive: true });
    cpSync(path, join(root, to), { dereference: true });
  };
  place(loader, loader);
  for (const [, name = '', path = ''] of stdout.matchAll(/^\s*(\S+) => (\/\S+)/gm)) {
    // Java finds its own beside itself; every other one is found in the loader's first folder.
    if (!path.includes('/jvm/')) place(path, join('lib', name));
  }
}

async function image(
  root: string,
  { name, entrypoint }: { name: string; entrypoint: string[] },
): Promise<string> {
  const folder = `${root}-archive`;
  mkdirSync(folder);
  const layer = join(folder, 'layer.tar');
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--sort=name', '--mtime=@0'];
  await execute('tar', [...owner, '-C', root, '-cf', layer, '.']);
  const digest = createHash('sha256').update(readFileSync(layer)).digest('hex');
  const config = {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: 'linux',
    config: {
      Entrypoint: entrypoint,
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'LD_LIBRARY_PATH=/lib'],
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  };
  return pack(folder, { name, config, layers: ['layer.tar'] });
}

async function pack(
  folder: string,
  { name, config, layers }: { name: string; config: object; layers: string[] },
): Promise<string> {
  const text = JSON.stringify(config);
  const file = `${createHash('sha256').update(text).digest('hex')}.json`;
  writeFileSync(join(folder, file), text);
  const manifest = [{ Config: file, RepoTags: [name], Layers: layers }];
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  const archive = `${folder}.tar`;
  const files = (await readdir(folder)).filter(
    (entry) => entry === 'manifest.json' || entry === file,
  );
  await execute('tar', ['-C', folder, '-cf', archive, ...files, ...layers]);
  return archive;
}
