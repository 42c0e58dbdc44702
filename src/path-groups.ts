// Which route is in which group of those that a credential may be allowed, and whose series it shows. A route is known by
// its own path, so that no spelling of an address (%2d, a query) is judged as another one than it reaches. What is not
// listed here needs the most: a GET is for readers of one tenant, everything that changes something for the operator.

export const PATH_GROUPS = ['write', 'read', 'admin'] as const;
export type PathGroup = (typeof PATH_GROUPS)[number];

export interface Place {
  group: PathGroup;
  /** Whether it shows or takes series of one tenant, of all, or nothing that belongs to a tenant. */
  scope: 'tenant' | 'operator' | 'nobody';
}

/** Orchestrators ask these without a secret, and the answer tells nothing about anybody's series. */
const HEALTH_PATHS = new Set([
  '/-/healthy',
  '/health',
  '/-/ready',
  '/ready',
  '/readyz',
  '/healthz',
]);
/** The page itself, which holds nothing of anybody: what it shows it asks for with a token. */
const PAGE_PATHS = new Set(['/', '/assets/:name']);
const WRITE_PATHS = new Set(['/api/v1/write', '/api/v1/push']);
/** What they show is of all tenants together, unless the reader names one. */
const OPERATOR_PATHS = new Set(['/metrics', '/anomaly/v1/status']);

/** What is said there is of one tenant's series. */
const TENANT_ADMIN_PATHS = /^\/anomaly\/v1\/(feedback|maintenance)(\/:id)?$/;
/** What is asked of a model is answered and leaves nothing behind: those who may read may ask. */
const MODEL_PATHS = /^\/v2(\/|$)/;
/** They describe the program. */
const DOCUMENT_PATHS = /^\/(openapi\.json|docs)(\/|$)/;

/** `path` is the route's, undefined when there is none. Undefined: open to everybody. */
export function placeOf(method: string, path: string | undefined): Place | undefined {
  const isRead = method === 'GET' || method === 'HEAD';
  if (path === undefined) return { group: isRead ? 'read' : 'admin', scope: 'nobody' };
  if (HEALTH_PATHS.has(path) || (isRead && PAGE_PATHS.has(path))) return undefined;
  if (MODEL_PATHS.test(path)) return { group: 'read', scope: 'nobody' };
  if (WRITE_PATHS.has(path)) return { group: 'write', scope: 'tenant' };
  if (!isRead) {
    return { group: 'admin', scope: TENANT_ADMIN_PATHS.test(path) ? 'tenant' : 'nobody' };
  }
  if (DOCUMENT_PATHS.test(path)) return { group: 'read', scope: 'nobody' };
  return { group: 'read', scope: OPERATOR_PATHS.has(path) ? 'operator' : 'tenant' };
}
