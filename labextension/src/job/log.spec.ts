import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { trans } from '../testing';
import { LogView } from './log';
import { PIECE } from './window';

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
    const view = new LogView('digits', fetch, trans);
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
