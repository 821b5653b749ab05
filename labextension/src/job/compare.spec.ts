import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ISeries, ITrainJob, refOf } from '../api/types';
import { JobStore } from '../store/jobs';
import { makeJob, Server, trans } from '../testing';
import { CompareView } from './compare';

vi.mock('uplot', () => ({ default: class {} }));

/** Longer than it takes to read all once more. */
const A_TURN_MS = 6_000;

/** A server of one job, whose answers can be held back. */
class Held extends Server {
  points = 0;
  hold: { get?: Promise<unknown>; series?: Promise<unknown> } = {};
  logged = () => new Promise(() => undefined);

  constructor() {
    super();
    const { get } = this;
    this.get = async ref => {
      const answer = await get(ref);
      await this.hold.get;
      return answer;
    };
  }

  series = async (): Promise<ISeries> => {
    this.points += 1;
    await this.hold.series;
    return { attempt: 1, metrics: {}, complete: false };
  };

  /** The job is now in this state; whoever listens is told. */
  set(job: ITrainJob, tell = true): void {
    this.jobs.set(job.metadata.uid, job);
    this.feedVersion = Number(job.metadata.resourceVersion);
    if (tell) {
      this.socket.tell(this.feedVersion, { object: job });
    }
  }
}

const running = makeJob({ phase: 'Running' }, 11);
const ended = makeJob({ phase: 'Succeeded' }, 12);

let server: Held;
let store: JobStore;
let view: CompareView;

const state = () => view.node.querySelector('tbody td:nth-child(3)')?.textContent;
const turn = () => vi.advanceTimersByTimeAsync(A_TURN_MS);

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe() {}
      disconnect() {}
    }
  );
  server = new Held();
  server.set(running, false);
  store = new JobStore(server as never);
  view = new CompareView([refOf(running)], store, new CommandRegistry(), trans);
});
afterEach(() => {
  view.dispose();
  store.dispose();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Opened, read, and told by the feed from now on. */
async function shown() {
  Widget.attach(view, document.body);
  await vi.advanceTimersByTimeAsync(5);
  server.socket.open();
  await turn();
  expect(state()).toBe('Running');
}

describe('jobs beside each other', () => {
  it('show a state as the feed tells it, and leave the keyboard where it was', async () => {
    await shown();
    view.node.querySelector<HTMLElement>('input[type=checkbox]')!.focus();
    server.set(ended);
    await vi.advanceTimersByTimeAsync(300);
    expect(state()).toBe('Succeeded');
    expect((document.activeElement as HTMLInputElement).type).toBe('checkbox');
  });

  it('are not asked for while the feed tells all; their points are', async () => {
    await shown();
    const { gets, points } = server;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(server.gets).toBe(gets);
    expect(server.points).toBeGreaterThanOrEqual(points + 5);
  });

  it('show what happened while they were hidden, also where the feed went on for others', async () => {
    const others = store.listen();
    await shown();
    view.hide();
    server.set(ended);
    view.show();
    await turn();
    expect(server.sockets).toHaveLength(1);
    expect(state()).toBe('Succeeded');
    others.dispose();
  });

  it('show what happened while nobody listened, and before the feed of the next look began', async () => {
    await shown();
    view.hide();
    expect(server.socket.closed).toBe(true);
    view.show();
    await vi.advanceTimersByTimeAsync(5);
    server.set(ended, false); // behind the reading, and not in a feed that begins now
    server.socket.open();
    await turn();
    expect(state()).toBe('Succeeded');
  });

  it('show what happened in versions that the feed no longer holds', async () => {
    await shown();
    server.set(ended, false);
    server.socket.send({ kind: 'Status', code: 410 });
    server.socket.break();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.sockets).toHaveLength(2);
    server.socket.open();
    await turn();
    expect(state()).toBe('Succeeded');
  });

  it.each(['get', 'series'] as const)('keep what the feed told while the answer to %s was under way', async kind => {
    const others = store.listen();
    await vi.advanceTimersByTimeAsync(5);
    server.socket.open(); // so that the first reading is the last
    let answer = () => undefined as void;
    server.hold = { [kind]: new Promise<void>(resolve => (answer = resolve)) };
    Widget.attach(view, document.body);
    await vi.advanceTimersByTimeAsync(5);
    server.set(ended);
    answer();
    await turn();
    expect([state(), server.gets]).toEqual(['Succeeded', 1]);
    others.dispose();
  });
});
