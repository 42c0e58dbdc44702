// The folder with package.json: benches are compiled into dist/, tests run as they are written.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export function projectRoot(): string {
  for (let at = new URL('..', import.meta.url); at.pathname !== '/'; at = new URL('..', at)) {
    if (existsSync(new URL('package.json', at))) return fileURLToPath(at);
  }
  throw new Error('package.json is above no folder of this file');
}
