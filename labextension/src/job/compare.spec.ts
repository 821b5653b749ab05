import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { refOf } from '../api/types';
import { JobStore } from '../store/jobs';
import { makeJob, trans } from '../testing';
import { CompareView } from './compare';

vi.mock('uplot', () => ({ default: class {} }));

const job = (phase: 'Running' | 'Succeeded', version: number) => {
  const made = makeJob({ phase }, version);
  return { ...made, metadata: { ...made.metadata, namespace: 'ada' } };
};

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe() {}
      disconnect() {}
    }
  );
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('jobs beside each other', () => {
  it('show a state as the feed tells it, and leave the keyboard where it was', async () => {
    let read = 0;
    const client = {
      get: () => {
        read += 1;
        return Promise.resolve(job('Running', 1));
      },
      series: () => Promise.resolve({ attempt: 1, metrics: {}, complete: false }),
      logged: () => new Promise(() => undefined),
      openFeed: () => ({ onopen: null, onmessage: null, onclose: null, close: () => undefined })
    };
    const store = new JobStore(client as never);
    const view = new CompareView([refOf(job('Running', 1))], store, new CommandRegistry(), trans);
    Widget.attach(view, document.body);
    await vi.advanceTimersByTimeAsync(100);
    expect(view.node.querySelector('tbody')!.textContent).toContain('Running');
    view.node.querySelector<HTMLElement>('input[type=checkbox]')!.focus();
    store.accept(job('Succeeded', 2));
    await vi.advanceTimersByTimeAsync(300);
    expect(view.node.querySelector('tbody')!.textContent).toContain('Succeeded');
    expect((document.activeElement as HTMLInputElement).type).toBe('checkbox');
    expect(read).toBe(1);
    view.dispose();
    store.dispose();
  });
});
