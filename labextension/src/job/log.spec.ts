import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { trans } from '../testing';
import { LogView } from './log';
import { ILine, PIECE } from './window';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('following a log', () => {
  it('catches up with one that grows faster than it is read', async () => {
    let size = 10;
    const asked: number[] = [];
    const fetch = (offset: number, limit: number) => {
      asked.push(offset);
      const data = new Uint8Array(Math.max(0, Math.min(limit, size - offset))).fill(65);
      size += size < 5_000_000 ? 600_000 : 0; // all the time, for a while
      return Promise.resolve({ data, offset, nextOffset: offset + data.length, size, complete: size >= 5_000_000 });
    };
    const view = new LogView('digits', fetch, () => Promise.reject(new Error('not asked')), trans);
    view.start();
    await vi.advanceTimersByTimeAsync(1000);
    expect(Math.max(...asked)).toBeGreaterThanOrEqual(size - PIECE);
    expect(view.node.textContent).toContain('MiB');
    const count = asked.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.length).toBe(count); // it is complete, and nobody asks on
    view.dispose();
  });
});

describe('a log on screen', () => {
  const encoder = new TextEncoder();
  /** A log that is served slowly. */
  function served(text: string, ms = 10) {
    const all = encoder.encode(text);
    return async (offset: number, limit: number) => {
      await new Promise(resolve => setTimeout(resolve, ms));
      const data = all.slice(offset, offset + limit);
      return { data, offset, nextOffset: offset + data.length, size: all.length, complete: true };
    };
  }

  it('goes on with a search that was put away before its end', async () => {
    const search = async () => {
      await new Promise(resolve => setTimeout(resolve, 1000));
      return { offsets: [30], count: 1, nextOffset: null };
    };
    const view = new LogView('digits', served('no\n'.repeat(10) + 'yes\n', 1000), search, trans);
    view.start();
    await vi.advanceTimersByTimeAsync(5000);
    const find = view.node.querySelector<HTMLInputElement>('input[type=search]')!;
    const hits = () => view.node.querySelector('.jp-TrainJobLog-hits')!.textContent;
    find.value = 'yes';
    find.dispatchEvent(new Event('input'));
    await vi.advanceTimersByTimeAsync(500);
    view.stop();
    await vi.advanceTimersByTimeAsync(5000);
    expect(hits()).not.toBe('1 of 1'); // of a part, no count is told as that of all
    view.start();
    await vi.advanceTimersByTimeAsync(5000);
    expect(hits()).toBe('1 of 1');
    view.dispose();
  });

  it('draws a line again in a row that showed a gap', () => {
    const view = new LogView('digits', served(''), () => Promise.reject(new Error('not asked')), trans);
    // rows are used again as one scrolls: what does so is the list's, how it is filled is ours
    const { _fill: fill } = view as unknown as { _fill: (node: HTMLElement, line: ILine) => void };
    const row = document.createElement('div');
    const line = { offset: 0, gap: 0, bytes: encoder.encode('same') };
    fill.call(view, row, line);
    fill.call(view, row, { offset: 4, gap: 10, bytes: new Uint8Array() });
    expect(row.textContent).toContain('left out');
    fill.call(view, row, line);
    expect(row.textContent).toBe('same');
    view.dispose();
  });
});
