// The page, built into the API server's folder. A module that is imported with `?script` becomes the text of one
// self-contained script: what runs packs is handed to a sandbox that may not fetch anything from here.
import { buildSync } from 'esbuild';
import { defineConfig } from 'vite';

const asScript = {
  name: 'as-script',
  enforce: 'pre',
  load(id) {
    if (!id.endsWith('?script')) return null;
    const entry = id.slice(0, -'?script'.length);
    const built = buildSync({ entryPoints: [entry], bundle: true, minify: true, format: 'iife', target: 'es2022', write: false });
    return `export default ${JSON.stringify(built.outputFiles[0].text)};`;
  },
};

export default defineConfig({
  base: '/agent/',
  plugins: [asScript],
  build: { outDir: '../apiserver/agentpage/dist', emptyOutDir: true, assetsInlineLimit: 0, modulePreload: false, target: 'es2022' },
});
