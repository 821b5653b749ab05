import { ICell } from '@jupyterlab/nbformat';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError, TrainJobClient } from '../api/client';
import { makeJob, trans } from '../testing';
import { CellsView } from './cells';

/** A renderer that takes its time, and tells whether it was put away. */
class Slow extends Widget {
  renderModel = () => new Promise<void>(resolve => setTimeout(resolve, 100));
}

let view: CellsView;
let made: Slow[];
let notebook: () => Promise<{ cells: ICell[] }>;

beforeEach(() => {
  vi.useFakeTimers();
  made = [];
  const rendermime = {
    preferredMimeType: () => 'text/plain',
    createRenderer: () => {
      made.push(new Slow());
      return made[made.length - 1];
    }
  };
  const client = { notebook: () => notebook() } as unknown as TrainJobClient;
  view = new CellsView({ uid: 'u', namespace: 'ada', name: 'a' }, client, rendermime as never, trans);
});
afterEach(() => {
  view.dispose();
  vi.useRealTimers();
});

const cell = (source: string): ICell => ({
  cell_type: 'code',
  source,
  outputs: [{ output_type: 'display_data', data: { 'text/plain': source }, metadata: {} }],
  metadata: {},
  execution_count: 1
});
const running = (cellsDone: number) => makeJob({ phase: 'Running', progress: { cellsDone } });
const rows = () => [...view.node.querySelectorAll('pre')].map(node => node.textContent);

describe('the cells of a job', () => {
  it('are marked when the job changes while their outputs are still being made', async () => {
    notebook = () => Promise.resolve({ cells: [cell('a'), cell('b'), cell('c')] });
    view.update(running(1));
    await vi.advanceTimersByTimeAsync(150);
    view.update(running(1)); // a heartbeat: the same cells
    await vi.advanceTimersByTimeAsync(1000);
    expect(rows()).toEqual(['a', 'b', 'c']);
    expect(view.node.querySelectorAll('[data-state]')).toHaveLength(3);
  });

  it('are those of the last reading, and what an earlier one made is put away', async () => {
    let slow = 5000;
    let cells = [cell('old')];
    notebook = async () => {
      const [wait, found] = [slow, cells];
      await new Promise(resolve => setTimeout(resolve, wait));
      return { cells: found };
    };
    view.update(running(1));
    await vi.advanceTimersByTimeAsync(10);
    [slow, cells] = [10, [cell('old'), cell('new')]];
    view.update(running(2));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(rows()).toEqual(['old', 'new']);
    expect(made.filter(one => !one.isDisposed)).toHaveLength(2);
  });

  it('leave nothing behind when the view is closed while they are made', async () => {
    notebook = () => Promise.resolve({ cells: [cell('a'), cell('b')] });
    view.update(running(1));
    await vi.advanceTimersByTimeAsync(50);
    view.dispose();
    await vi.advanceTimersByTimeAsync(1000);
    expect(made.length).toBeGreaterThan(0);
    expect(made.every(one => one.isDisposed)).toBe(true);
  });

  it('are asked for again where the server was away', async () => {
    notebook = () => Promise.reject(new ApiError(503, 'away'));
    view.update(running(1));
    await vi.advanceTimersByTimeAsync(10);
    expect(view.node.textContent).toContain('away');
    notebook = () => Promise.resolve({ cells: [cell('a')] });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(rows()).toEqual(['a']);
    expect(view.node.textContent).not.toContain('away');
  });
});
