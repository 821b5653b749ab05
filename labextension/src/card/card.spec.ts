import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { TrainJobClient } from '../api/client';
import { refOf } from '../api/types';
import { JobStore } from '../store/jobs';
import { makeJob, Server, trans, UID } from '../testing';
import { JobCard } from './card';

let server: Server;
let store: JobStore;
let logs: number;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  server.jobs.set(UID, makeJob({ phase: 'Running', attempts: [{ number: 1 }] }));
  logs = 0;
  const log = () => {
    logs += 1;
    const data = new TextEncoder().encode('printed\n');
    return Promise.resolve({ data, offset: 0, nextOffset: data.length, size: data.length, complete: true });
  };
  store = new JobStore(Object.assign(server, { log, now: () => Date.now() }) as unknown as TrainJobClient);
});
afterEach(() => {
  store.dispose();
  vi.useRealTimers();
});

async function attached(logIsBelow: boolean): Promise<JobCard> {
  const card = new JobCard(refOf(makeJob()), { store, trans, folder: () => '', opener: null as never }, logIsBelow);
  Widget.attach(card, document.body);
  await vi.advanceTimersByTimeAsync(50);
  return card;
}

describe('the log in a card', () => {
  it('is shown', async () => {
    const card = await attached(false);
    expect(card.node.querySelector('[role=log]')?.textContent).toBe('printed');
    card.dispose();
  });

  it('is not shown, nor asked for, where it is printed below', async () => {
    const card = await attached(true);
    expect(card.node.querySelector('.jp-TrainJobCard-state')?.textContent).toBe('Running');
    expect(card.node.querySelector<HTMLElement>('[role=log]')?.hidden).toBe(true);
    expect(logs).toBe(0);
    card.dispose();
  });
});
