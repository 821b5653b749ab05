import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

/** Lab's own way to run a cell: here it only counts. */
const run = vi.hoisted(() => vi.fn(() => Promise.resolve(true)));
vi.mock('@jupyterlab/notebook', () => ({ runCell: run, INotebookCellExecutor: {} }));
vi.mock('@jupyterlab/cells', () => ({ isCodeCellModel: (model: { type: string }) => model.type === 'code' }));

import plugins from './index';

const [provider, check] = plugins;
const execute = vi.fn<(id: string, given: object) => Promise<boolean>>(() => Promise.resolve(true));
const app = { commands: { hasCommand: () => true, execute } };

function options(source: string, language: string) {
  return {
    cell: { model: { type: 'code', id: 'one', sharedModel: { getSource: () => source } } },
    notebook: { getMetadata: (key: string) => (key === 'language_info' ? { name: language } : undefined) },
    sessionContext: { path: 'here.ipynb', session: null },
    onCellExecutionScheduled: vi.fn(),
    onCellExecuted: vi.fn()
  };
}

beforeEach(() => {
  run.mockClear();
  execute.mockClear();
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('who runs the cells', () => {
  it('sends those that begin with our line, but for Python’s, and leaves all others to Lab', async () => {
    const ours = provider.activate(app as never) as { runCell(options: unknown): Promise<boolean> };
    const sent = options('%%trainjob --cpu 2\nprintln(1)', 'scala');
    expect(await ours.runCell(sent)).toBe(true);
    expect(execute).toHaveBeenCalledWith('trainjob:submit-cell', { cellId: 'one', path: 'here.ipynb' });
    expect(sent.onCellExecuted).toHaveBeenCalledWith({ cell: sent.cell, success: true });
    expect(run).not.toHaveBeenCalled();
    for (const other of [
      options('%%trainjob\n1', 'ipython'),
      options('%%trainjobs', 'R'),
      options('x <- 1\n%%trainjob', 'R')
    ]) {
      await ours.runCell(other);
    }
    expect(run).toHaveBeenCalledTimes(3);
    expect(execute).toHaveBeenCalledTimes(1);
  });

  it('lets a cell end whose sending failed', async () => {
    const ours = provider.activate(app as never) as { runCell(options: unknown): Promise<boolean> };
    execute.mockRejectedValueOnce(new Error('away'));
    const sent = options('%%trainjob', 'R');
    await expect(ours.runCell(sent)).rejects.toThrow('away');
    expect(sent.onCellExecuted).toHaveBeenCalledWith({ cell: sent.cell, success: false });
  });

  it('says so where another extension does', () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const ours = provider.activate(app as never);
    void check.activate(app as never, ours);
    expect(warned).not.toHaveBeenCalled();
    void check.activate(app as never, {});
    expect(warned.mock.calls[0][0]).toContain('another extension runs the cells');
  });
});
