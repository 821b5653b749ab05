import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError, FeedSocket, TrainJobClient } from '../api/client';
import { IJobRef, ITrainJob } from '../api/types';
import { makeJob, UID } from '../testing';
import { JobStore } from './jobs';

const REF: IJobRef = { uid: UID, namespace: 'ada', name: 'digits-x7k2p' };

/** The server's side of a socket. */
class Socket implements FeedSocket {
  constructor(readonly since: number) {}
  onopen: FeedSocket['onopen'] = null;
  onmessage: FeedSocket['onmessage'] = null;
  onclose: FeedSocket['onclose'] = null;
  closed = false;

  close(): void {
    this.closed = true;
  }

  open(): void {
    this.onopen?.call(this as unknown as WebSocket, new Event('open'));
  }

  tell(version: number, ...jobs: { type?: string; object: ITrainJob }[]): void {
    const changes = jobs.map(({ type = 'MODIFIED', object }) => ({ type, version, object }));
    this.send({ changes, version });
  }

  send(message: unknown): void {
    const event = new MessageEvent('message', { data: JSON.stringify(message) });
    this.onmessage?.call(this as unknown as WebSocket, event);
  }

  break(code = 1006): void {
    this.onclose?.call(this as unknown as WebSocket, { code } as CloseEvent);
  }
}

/** A record of jobs with the client's face. */
class Server {
  jobs = new Map<string, ITrainJob>();
  feedVersion = 10;
  away = false;
  gets = 0;
  sockets: Socket[] = [];

  version = (): Promise<number> => (this.away ? this._no() : Promise.resolve(this.feedVersion));

  get = (ref: IJobRef): Promise<ITrainJob> => {
    this.gets += 1;
    if (this.away) {
      return this._no();
    }
    const job = this.jobs.get(ref.uid);
    return job ? Promise.resolve(job) : Promise.reject(new ApiError(404, 'no such job'));
  };

  openFeed = (since: number): FeedSocket => {
    const socket = new Socket(since);
    this.sockets.push(socket);
    return socket;
  };

  get socket(): Socket {
    return this.sockets[this.sockets.length - 1];
  }

  private _no(): Promise<never> {
    return Promise.reject(new ApiError(0, 'no answer'));
  }
}

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
