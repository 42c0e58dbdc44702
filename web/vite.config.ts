// How the page is built: into dist/web, where the program serves it from. Everything is a file of its own, because the
// page's policy allows nothing inline; the small icon is the one exception, an image in the address.

import { defineConfig } from 'vite';

// biome-ignore lint/style/noDefaultExport: Vite reads its settings from there.
export default defineConfig({
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    target: 'es2022',
    // Those that know light-dark(): colours stay as they are written.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
  },
});
