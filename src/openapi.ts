// The OpenAPI document of the routes, made from their schemas, and the page that shows it. Must be registered before any
// route, for it listens to them being added. Routes without a summary are left out: they speak other protocols.

import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { HttpServer } from './http-server.js';

export async function openApi(server: HttpServer, version: string): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Treeline',
        version,
        description:
          'What a streaming anomaly detector for Prometheus has found. Times are RFC 3339 in UTC. Errors are a ' +
          'sentence: {"error": "…"}. With tenancy, X-Scope-OrgID names the tenant whose series are meant.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      // Without credentials in the settings none is needed.
      security: [{}, { bearer: [] }, { basic: [] }],
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description: 'auth.credentials with tokenFile',
          },
          basic: {
            type: 'http',
            scheme: 'basic',
            description: 'auth.credentials with passwordFile',
          },
        },
      },
      tags: [
        { name: 'anomalies', description: 'One series, from onset to end' },
        { name: 'incidents', description: 'Anomalies that belong together' },
        { name: 'stream', description: 'Both, as they change' },
        { name: 'series', description: 'What is scored' },
        { name: 'feedback', description: 'What people say of it' },
        { name: 'maintenance', description: 'When nobody is to be notified' },
        { name: 'status', description: 'The process itself' },
      ],
    },
    transform: ({ schema, url }) => {
      const isShown = (schema as { summary?: string } | undefined)?.summary !== undefined;
      const asked = (schema as { querystring?: QuerySchema } | undefined)?.querystring;
      const querystring = asked && { querystring: withoutDefaults(asked) };
      return { schema: { ...schema, ...querystring, hide: !isShown }, url };
    },
  });
  await server.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
  server.get('/openapi.json', (_request, reply) => reply.send(server.swagger()));
}

interface QuerySchema {
  required?: readonly string[];
  properties?: Readonly<Record<string, { default?: unknown }>>;
}

/** What has a default need not be asked for, though whoever answers always has it. */
function withoutDefaults(schema: QuerySchema): QuerySchema {
  const required = schema.required?.filter(
    (name) => schema.properties?.[name]?.default === undefined,
  );
  return { ...schema, ...(required !== undefined && { required }) };
}
