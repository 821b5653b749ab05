import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { TrainJobClient } from '../api/client';
import { IJobRef, ITrainJob, ITrainJobStatus, refOf } from '../api/types';
import { makeJob, Server, UID } from '../testing';
import { JobStore } from './jobs';
import { EndWatch } from './watch';

const OTHER = '11111111-2222-4333-8444-555555555555';

let server: Server;
let kept: IJobRef[];
let told: string[];
let page: { store: JobStore; watch: EndWatch };

/** A job that wants its end told. */
function wanting(status: Partial<ITrainJobStatus>, version = 5, uid = UID): ITrainJob {
  const job = makeJob(status, version, uid);
  job.spec.notify = true;
  return job;
}

function has(...jobs: ITrainJob[]): void {
  server.jobs = new Map(jobs.map(job => [job.metadata.uid, job]));
}

/** Opens the page: a new store, and what the last one kept. */
async function open(): Promise<void> {
  const store = new JobStore(server as unknown as TrainJobClient);
  const memory = {
    load: () => Promise.resolve(kept),
    save: (refs: IJobRef[]) => {
      kept = refs;
      return Promise.resolve();
    }
  };
  const watch = new EndWatch(store, memory);
  watch.ended.connect((_, job) => told.push(`${job.metadata.uid} ${job.status.phase}`));
  page = { store, watch };
  await vi.advanceTimersByTimeAsync(5);
  server.sockets.at(-1)?.open();
  await vi.advanceTimersByTimeAsync(5);
}

function close(): void {
  page.watch.dispose();
  page.store.dispose();
}

async function tell(version: number, ...objects: ITrainJob[]): Promise<void> {
  server.socket.tell(version, ...objects.map(object => ({ object })));
  await vi.advanceTimersByTimeAsync(5);
}

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  kept = [];
  told = [];
});
afterEach(() => {
  close();
  vi.useRealTimers();
});

describe('the end of a job that wants it told', () => {
  it('is told without a card, once, and then the feed is left', async () => {
    has(wanting({ phase: 'Running' }));
    await open();
    expect(kept.map(ref => ref.uid)).toEqual([UID]);
    const { socket } = server;
    await tell(11, wanting({ phase: 'Succeeded' }, 11));
    expect(told).toEqual([`${UID} Succeeded`]);
    expect(socket.closed).toBe(true);
    expect(kept).toEqual([]);
  });

  it('is not told again, whatever else is told of the job', async () => {
    has(wanting({ phase: 'Running' }), wanting({ phase: 'Running' }, 5, OTHER));
    await open();
    await tell(12, wanting({ phase: 'Failed' }, 12));
    await tell(13, wanting({ phase: 'Running' }, 11), wanting({ phase: 'Failed' }, 13));
    has(wanting({ phase: 'Failed' }, 13), wanting({ phase: 'Running' }, 5, OTHER));
    page.store.follow(refOf(makeJob()));
    await vi.advanceTimersByTimeAsync(120_000);
    expect(told).toEqual([`${UID} Failed`]);
    expect(kept.map(ref => ref.uid)).toEqual([OTHER]);
  });

  it('is told of a job that a card showed, though the card is gone', async () => {
    await open();
    expect(server.sockets).toHaveLength(0);
    has(wanting({ phase: 'Queued' }));
    const { handle } = page.store.follow(refOf(makeJob()));
    await vi.advanceTimersByTimeAsync(5);
    handle.dispose();
    expect(server.socket.closed).toBe(false);
    await tell(12, wanting({ phase: 'Cancelled' }, 12));
    expect(told).toEqual([`${UID} Cancelled`]);
  });

  it('is told by the next page where none was open', async () => {
    has(wanting({ phase: 'Running' }));
    await open();
    close();
    has(wanting({ phase: 'Succeeded' }, 20));
    await open();
    expect(told).toEqual([`${UID} Succeeded`]);
    close();
    await open();
    expect(told).toHaveLength(1);
  });

  it('is found though the feed had lost it', async () => {
    has(wanting({ phase: 'Running' }));
    await open();
    has(wanting({ phase: 'Succeeded' }, 700));
    server.feedVersion = 900;
    server.socket.break(4410);
    await vi.advanceTimersByTimeAsync(1000);
    server.socket.open();
    await vi.advanceTimersByTimeAsync(5);
    expect(told).toEqual([`${UID} Succeeded`]);
  });

  it('is waited for while the server is away', async () => {
    kept = [refOf(makeJob())];
    server.away = true;
    await open();
    has(wanting({ phase: 'Succeeded' }, 20));
    server.away = false;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told).toEqual([`${UID} Succeeded`]);
  });
});

describe('nothing is told', () => {
  it('and nothing connected, where no job wants it', async () => {
    has(makeJob({ phase: 'Running' }));
    await open();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(server.sockets).toHaveLength(0);
    expect([server.lists, server.gets]).toEqual([1, 0]);
  });

  it('of a job that had ended when it was first seen', async () => {
    await open();
    has(wanting({ phase: 'Succeeded' }));
    page.store.follow(refOf(makeJob()));
    await vi.advanceTimersByTimeAsync(5);
    expect(told).toEqual([]);
  });

  it('of somebody else’s job', async () => {
    const theirs = (phase: 'Running' | 'Succeeded', version: number) => {
      const job = wanting({ phase }, version);
      job.metadata.owner = 'bob';
      return job;
    };
    kept = [refOf(makeJob())]; // by somebody who used this server before
    has(theirs('Running', 5));
    await open();
    page.store.follow(refOf(makeJob()));
    await vi.advanceTimersByTimeAsync(5);
    await tell(12, theirs('Succeeded', 12));
    expect(told).toEqual([]);
    expect(kept).toEqual([]);
  });

  it('of a job that was deleted, which is forgotten', async () => {
    has(wanting({ phase: 'Running' }));
    await open();
    const { socket } = server;
    server.jobs.clear();
    await vi.advanceTimersByTimeAsync(70_000);
    expect(told).toEqual([]);
    expect(kept).toEqual([]);
    expect(socket.closed).toBe(true);
  });
});
