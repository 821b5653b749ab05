import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { TrainJobClient } from '../api/client';
import { IJobRef } from '../api/types';
import { makeJob, Server, UID } from '../testing';
import { JobStore } from './jobs';

const REF: IJobRef = { uid: UID, namespace: 'ada', name: 'digits-x7k2p' };

let server: Server;
let store: JobStore;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  server.jobs.set(UID, makeJob({ position: 2 }, 5));
  store = new JobStore(server as unknown as TrainJobClient);
});
afterEach(() => {
  store.dispose();
  vi.useRealTimers();
});

async function following() {
  const { followed, handle } = store.follow(REF);
  await vi.advanceTimersByTimeAsync(5);
  server.socket.open();
  await vi.advanceTimersByTimeAsync(5);
  return { followed, handle };
}

describe('following jobs', () => {
  it('reads the job and then takes what the feed tells', async () => {
    const { followed } = await following();
    expect(followed.job?.status.position).toBe(2);
    expect(server.socket.since).toBe(10);
    server.socket.tell(11, { object: makeJob({ phase: 'Running' }, 11) });
    expect(followed.job?.status.phase).toBe('Running');
  });

  it('keeps the place in the line, which the feed does not know', async () => {
    const { followed } = await following();
    server.socket.tell(11, { object: makeJob({}, 11) });
    expect(followed.job?.status.position).toBe(2);
    expect(followed.job?.metadata.resourceVersion).toBe('11');
  });

  it('never goes back to an older state', async () => {
    const { followed } = await following();
    server.socket.tell(12, { object: makeJob({ phase: 'Succeeded' }, 12) });
    server.socket.tell(12, { object: makeJob({ phase: 'Running' }, 11) });
    expect(followed.job?.status.phase).toBe('Succeeded');
  });

  it('gives the same live object to all, and stops with the last', async () => {
    const { followed, handle } = await following();
    const second = store.follow(REF);
    expect(second.followed).toBe(followed);
    handle.dispose();
    const { socket } = server;
    expect(socket.closed).toBe(false);
    second.handle.dispose();
    expect(socket.closed).toBe(true);
    const { gets } = server;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(server.gets).toBe(gets);
  });

  it('has one connection for all cards and listeners, and none when the last has gone', async () => {
    const listening = store.listen();
    const other = '11111111-2222-4333-8444-555555555555';
    const handles = [REF, REF, { ...REF, uid: other }].map(ref => store.follow(ref).handle);
    await vi.advanceTimersByTimeAsync(5);
    expect(server.sockets).toHaveLength(1);
    handles.forEach(handle => handle.dispose());
    expect(server.socket.closed).toBe(false);
    listening.dispose();
    expect(server.socket.closed).toBe(true);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(server.sockets).toHaveLength(1);
  });

  it('knows a job that is not there, and one that goes', async () => {
    server.jobs.clear();
    const { followed } = await following();
    expect(followed.gone).toBe(true);
    server.jobs.set(UID, makeJob({}, 5));
    await store.refresh(REF);
    expect(followed.gone).toBe(false);
    server.socket.tell(13, { type: 'DELETED', object: makeJob({}, 13) });
    expect(followed.gone).toBe(true);
  });
});

describe('when the connection breaks', () => {
  it('goes on from the last version it saw', async () => {
    const { followed } = await following();
    server.socket.tell(17);
    server.socket.break();
    await vi.advanceTimersByTimeAsync(1000);
    expect(server.sockets).toHaveLength(2);
    expect(server.socket.since).toBe(17);
    server.socket.open();
    server.socket.tell(18, { object: makeJob({ phase: 'Running' }, 18) });
    expect(followed.job?.status.phase).toBe('Running');
  });

  it('begins anew where the feed no longer holds that version', async () => {
    const { followed } = await following();
    server.feedVersion = 900;
    server.jobs.set(UID, makeJob({ phase: 'Succeeded' }, 899));
    server.socket.send({ kind: 'Status', code: 410 });
    server.socket.break();
    await vi.advanceTimersByTimeAsync(1000);
    expect(server.socket.since).toBe(900);
    server.socket.open();
    await vi.advanceTimersByTimeAsync(5);
    expect(followed.job?.status.phase).toBe('Succeeded');
  });

  it('says that the server is away, and that it is back', async () => {
    await following();
    const seen: boolean[] = [];
    store.onlineChanged.connect((_, online) => seen.push(online));
    server.away = true;
    server.socket.break();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(seen).toEqual([false]);
    server.away = false;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(seen).toEqual([false, true]);
  });

  it('is no absence where only the socket can’t be had: reading goes on', async () => {
    const { followed } = store.follow(REF);
    await vi.advanceTimersByTimeAsync(5);
    server.socket.break();
    server.jobs.set(UID, makeJob({ phase: 'Running' }, 6));
    await vi.advanceTimersByTimeAsync(6_000);
    expect(store.online).toBe(true);
    expect(followed.job?.status.phase).toBe('Running');
  });

  it('reads a waiting job’s place every few seconds, and no more once it has ended', async () => {
    const { followed } = await following();
    server.jobs.set(UID, makeJob({ position: 1 }, 5));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(followed.job?.status.position).toBe(1);
    server.socket.tell(20, { object: makeJob({ phase: 'Failed' }, 20) });
    const { gets } = server;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(server.gets).toBe(gets);
  });
});
