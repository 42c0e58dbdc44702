import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Builds a program for minutes, or needs hours: part of `npm run bench:long`.
    exclude: process.env['TREELINE_LONG'] === '1' ? [] : ['test/prometheus3.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores, and several suites start programs of their own: files run one after another.
    fileParallelism: false,
  },
});
