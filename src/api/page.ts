// Serves the web page that the build leaves in dist/web: index.html at `/` and what it names under /assets/, read once
// and kept in memory, compressed. The names of assets hold a hash of their content, so they may be kept for ever; the
// page itself is asked for again each time. The policy lets nothing run, load or connect that is not ours. The files hold
// no series, so they are open to everybody: the page asks for a token when the REST routes do.

import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { brotliCompressSync, gzipSync, constants as zlib } from 'node:zlib';
import type { HttpReply, HttpRequest, HttpServer } from '../http-server.js';
import { PAGE_BYTES_MAX, PAGE_FILES_MAX } from '../limits.js';

export interface PageFile {
  type: string;
  etag: string;
  /** By content coding. */
  bodies: { identity: Buffer; gzip: Buffer; br: Buffer };
}

export interface Page {
  index: PageFile;
  assets: ReadonlyMap<string, PageFile>;
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Undefined when there is no page in the folder: it has not been built. */
export function loadPage(folder: URL): Page | undefined {
  let index: PageFile;
  try {
    index = fileOf(new URL('index.html', folder));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const assets = new Map<string, PageFile>();
  const names = readdirSync(new URL('assets/', folder)).toSorted();
  assert(names.length <= PAGE_FILES_MAX, `${names.length} assets are more than a page has`);
  for (const name of names) {
    assets.set(name, fileOf(new URL(`assets/${name}`, folder)));
  }
  return { index, assets };
}

export function pageRoutes(server: HttpServer, page: Page | undefined): void {
  server.get('/', (request, reply) => {
    if (page === undefined) {
      const message =
        'The page has not been built; "npm run build" does it. /docs shows the routes';
      return reply.code(404).type('text/plain; charset=utf-8').send(`${message}\n`);
    }
    reply
      .header('Content-Security-Policy', CONTENT_SECURITY_POLICY)
      .header('Referrer-Policy', 'no-referrer')
      .header('Cache-Control', 'no-cache');
    return send(page.index, request, reply);
  });
  server.get<{ Params: { name: string } }>('/assets/:name', (request, reply) => {
    const file = page?.assets.get(request.params.name);
    if (file === undefined) {
      return reply.code(404).type('text/plain; charset=utf-8').send('No such file\n');
    }
    reply.header('Cache-Control', 'public, max-age=31536000, immutable');
    return send(file, request, reply);
  });
}

function send(file: PageFile, request: HttpRequest, reply: HttpReply): HttpReply {
  reply.header('ETag', file.etag).header('Vary', 'Accept-Encoding');
  if (request.headers['if-none-match'] === file.etag) return reply.code(304).send();
  const coding = codingFor(String(request.headers['accept-encoding'] ?? ''));
  if (coding !== 'identity') reply.header('Content-Encoding', coding);
  return reply.type(file.type).send(file.bodies[coding]);
}

/** The smallest that is accepted; a coding with q=0 is refused (RFC 9110, 12.5.3). */
function codingFor(accepted: string): keyof PageFile['bodies'] {
  const codings = new Set(
    accepted
      .toLowerCase()
      .split(',')
      .map((coding) => coding.trim())
      .filter((coding) => !/;\s*q=0(\.0*)?$/.test(coding))
      .map((coding) => coding.split(';', 1)[0] ?? ''),
  );
  return codings.has('br') ? 'br' : codings.has('gzip') ? 'gzip' : 'identity';
}

function fileOf(path: URL): PageFile {
  const { size } = statSync(path);
  assert(size <= PAGE_BYTES_MAX, `${path.pathname} has ${size} bytes, more than any of the page`);
  const identity = readFileSync(path);
  const ending = path.pathname.split('.').at(-1) ?? '';
  const hash = createHash('sha256').update(identity).digest('base64url').slice(0, 22);
  return {
    type: TYPES[ending] ?? 'application/octet-stream',
    etag: `"${hash}"`,
    bodies: {
      identity,
      gzip: gzipSync(identity, { level: 9 }),
      br: brotliCompressSync(identity, { params: { [zlib.BROTLI_PARAM_QUALITY]: 9 } }),
    },
  };
}
