import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError, TrainJobClient } from '../api/client';
import { IJobRef } from '../api/types';
import { trans } from '../testing';
import { MetricsView } from './metrics';

/** What is drawn is the browser's; here it counts which lines there are. */
const drawn = vi.hoisted(() => [] as string[][]);
vi.mock('uplot', () => ({
  default: class {
    constructor(options: { series: { label: string }[] }) {
      drawn.push(options.series.slice(1).map(({ label }) => label));
    }
    setData() {}
    setSize() {}
    destroy() {}
  }
}));

const ref = (name: string): IJobRef => ({ uid: name, namespace: 'ada', name });
const series = { attempt: 1, metrics: { loss: { points: [[1, 0.5, 0]] } }, complete: false };

let asked: string[];
let failing: Record<string, ApiError>;
let wait: number;
let view: MetricsView;
let client: TrainJobClient;

beforeEach(() => {
  vi.useFakeTimers();
  [asked, failing, wait, drawn.length] = [[], {}, 10, 0];
  client = {
    series: async ({ name }: IJobRef) => {
      asked.push(name);
      await new Promise(resolve => setTimeout(resolve, wait));
      if (failing[name]) {
        throw failing[name];
      }
      return series;
    }
  } as unknown as TrainJobClient;
  view = new MetricsView(client, [ref('a'), ref('b')], trans);
});
afterEach(() => {
  view.dispose();
  vi.useRealTimers();
});

describe('the plots of several jobs', () => {
  it('are drawn of those that are there where one was deleted, and that one is not asked for again', async () => {
    failing.b = new ApiError(404, 'no such job');
    view.start();
    await vi.advanceTimersByTimeAsync(7000);
    expect(drawn[0]).toHaveLength(1);
    expect(asked.filter(name => name === 'b')).toHaveLength(1);
    expect(asked.filter(name => name === 'a').length).toBeGreaterThan(2);
  });

  it('are read once a turn, however often they are put away and shown while an answer is on its way', async () => {
    wait = 1000;
    for (let number = 0; number < 5; number++) {
      view.start();
      await vi.advanceTimersByTimeAsync(100);
      view.stop();
    }
    view.start();
    await vi.advanceTimersByTimeAsync(3000);
    asked.length = 0;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(asked.length).toBeLessThanOrEqual(2 * 11);
    expect(asked.length).toBeGreaterThan(10);
  });
});

describe('the plots of one job', () => {
  it('are read again when the server tells of more, and not before', async () => {
    const waits: { bytes: number; more: (bytes: number) => void }[] = [];
    const logged = (_: IJobRef, bytes: number) => new Promise<number>(more => waits.push({ bytes, more }));
    const one = new MetricsView({ ...client, logged } as never, [ref('a')], trans);
    one.start();
    await vi.advanceTimersByTimeAsync(15_000);
    expect([asked, waits.map(({ bytes }) => bytes)]).toEqual([['a'], [0]]);
    waits[0].more(100);
    await vi.advanceTimersByTimeAsync(1000);
    expect([asked, waits.map(({ bytes }) => bytes)]).toEqual([
      ['a', 'a'],
      [0, 100]
    ]);
    one.stop();
    waits[1].more(200);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toEqual(['a', 'a']);
    one.dispose();
  });

  it('hold no connection when they are put away, and count nothing of a job that was shown before', async () => {
    const waits: { name: string; bytes: number; more: (bytes: number) => void; signal: AbortSignal }[] = [];
    const logged = ({ name }: IJobRef, bytes: number, _: number, signal: AbortSignal) =>
      new Promise<number>(more => waits.push({ name, bytes, more, signal }));
    const one = new MetricsView({ ...client, logged } as never, [ref('a')], trans);
    one.start();
    await vi.advanceTimersByTimeAsync(100);
    one.jobs = [ref('b')];
    expect(waits[0].signal.aborted).toBe(true);
    waits[0].more(500); // it had come already
    await vi.advanceTimersByTimeAsync(100);
    expect(waits.map(({ name, bytes }) => [name, bytes])).toEqual([
      ['a', 0],
      ['b', 0]
    ]);
    expect(waits[1].signal.aborted).toBe(false);
    one.stop();
    expect(waits[1].signal.aborted).toBe(true);
    one.dispose();
  });
});
