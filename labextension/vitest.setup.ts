// jsdom lacks these; JupyterLab's modules touch them at import time
const g = globalThis as unknown as Record<string, unknown> & { MouseEvent?: typeof MouseEvent; window?: Window };
if (g.MouseEvent) {
  g.DragEvent ??= class extends g.MouseEvent {};
}
g.ResizeObserver ??= class {
  observe() {}
  unobserve() {}
  disconnect() {}
};
g.matchMedia ??= () => ({
  matches: false,
  addListener() {},
  removeListener() {},
  addEventListener() {},
  removeEventListener() {}
});
if (g.window) {
  (g.window as unknown as Record<string, unknown>).matchMedia ??= g.matchMedia;
}
