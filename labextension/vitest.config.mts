import { defineConfig } from 'vitest/config';

// JupyterLab's packages import .svg and want a browser: inline them and give them text.
const svgRaw = {
  name: 'svg-raw',
  enforce: 'pre' as const,
  transform(code: string, id: string) {
    return id.endsWith('.svg') ? { code: `export default ${JSON.stringify(code)}`, map: null } : undefined;
  }
};

export default defineConfig({
  plugins: [svgRaw],
  test: {
    environment: 'jsdom',
    include: ['src/**/*.spec.ts', 'executor/src/**/*.spec.ts'],
    setupFiles: ['./vitest.setup.ts'],
    server: { deps: { inline: [/@jupyterlab\//, /@jupyter\//, /@lumino\//, /@microsoft\//] } }
  }
});
