// Takes out of node_modules what an image does not run: ONNX Runtime's libraries for other platforms, the browser's builds
// of its WebAssembly, lmdb's builds for other Nodes and its sources, types, maps, documents and tests. `light` also leaves out the native runtime as a whole.
//
//   node prune.mjs light|heavy

import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const variant = process.argv[2];
if (variant !== 'light' && variant !== 'heavy') throw new Error('prune.mjs light|heavy');

/** What Node loads of onnxruntime-web. */
const WEB_FILES = new Set([
  'ort.node.min.mjs',
  'ort.node.min.js',
  'ort-wasm-simd-threaded.mjs',
  'ort-wasm-simd-threaded.wasm',
]);
const NEEDLESS = /\.(map|d\.ts|d\.mts|d\.cts|md|markdown|flow)$/i;

function keepOnly(folder, isKept) {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (!isKept(name)) rmSync(join(folder, name), { recursive: true });
  }
}

keepOnly('node_modules/onnxruntime-web', (name) => name === 'dist' || name === 'package.json');
keepOnly('node_modules/onnxruntime-web/dist', (name) => WEB_FILES.has(name));
// lmdb brings a build for each of several Nodes and C libraries.
const abi = `node.abi${process.versions.modules}.glibc.node`;
for (const name of existsSync('node_modules/@lmdb') ? readdirSync('node_modules/@lmdb') : []) {
  const folder = join('node_modules/@lmdb', name);
  if (!existsSync(join(folder, abi))) continue;
  keepOnly(folder, (file) => !file.endsWith('.node') || file === abi);
}
for (const folder of ['dependencies', 'src']) {
  rmSync(join('node_modules/lmdb', folder), { recursive: true, force: true });
}
const native = 'node_modules/onnxruntime-node';
if (variant === 'light') rmSync(native, { recursive: true, force: true });
else {
  for (const abi of existsSync(`${native}/bin`) ? readdirSync(`${native}/bin`) : []) {
    keepOnly(`${native}/bin/${abi}`, (name) => name === process.platform);
    keepOnly(`${native}/bin/${abi}/${process.platform}`, (name) => name === process.arch);
  }
}
// Of packages that publish their tests with them, right below their folders.
const names = readdirSync('node_modules').filter((name) => !name.startsWith('.'));
const packages = names.flatMap((name) =>
  name.startsWith('@')
    ? readdirSync(join('node_modules', name)).map((inner) => join('node_modules', name, inner))
    : [join('node_modules', name)],
);
for (const folder of packages) {
  for (const needless of ['test', 'tests', 'benchmark', 'benchmarks', 'bench', 'examples']) {
    rmSync(join(folder, needless), { recursive: true, force: true });
  }
}
for (const entry of readdirSync('node_modules', { recursive: true, withFileTypes: true })) {
  if (entry.isFile() && NEEDLESS.test(entry.name)) rmSync(join(entry.parentPath, entry.name));
}
