import { defineConfig } from 'vitest/config';

/** `npm run test:cluster`: what needs a control plane, whose programs are built once, for a quarter of an hour or more. */
export default defineConfig({
  test: {
    // `*.node.ts` wants namespaces of its own, see node.ts.
    include: [
      process.env['TREELINE_NODE'] === '1'
        ? 'test/kubernetes/*.node.ts'
        : 'test/kubernetes/*.cluster.ts',
    ],
    testTimeout: 600_000,
    hookTimeout: 3_600_000,
    fileParallelism: false,
  },
});
