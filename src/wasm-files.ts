// Where the compiled WASM modules lie: beside the compiled program, whether it runs from there or from its sources.

import { readFileSync } from 'node:fs';

export interface WasmFile {
  module: WebAssembly.Module;
  bytes: Uint8Array;
}

export function loadWasm(
  name: 'decode' | 'forest' | 'entity' | 'decode.debug' | 'forest.debug',
): WasmFile {
  const isCompiled = new URL('.', import.meta.url).pathname.endsWith('/dist/src/');
  const path = `${isCompiled ? '..' : '../dist'}/${name}.wasm`;
  const bytes = readFileSync(new URL(path, import.meta.url));
  return { module: new WebAssembly.Module(bytes), bytes };
}
