import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError, TrainJobClient } from '../api/client';
import { makeJob, Server } from '../testing';
import { JobStore } from './jobs';
import { JobList } from './list';
import { slim } from './slim';

let server: Server;
let store: JobStore;
let list: JobList;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  store = new JobStore(server as unknown as TrainJobClient);
  list = new JobList(store);
});
afterEach(() => {
  list.dispose();
  store.dispose();
  vi.useRealTimers();
});

async function pass(ms = 50): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

async function begun(all = true): Promise<void> {
  void list.begin(all);
  await pass();
  server.socket.open();
  await pass();
}

function has(count: number, phase: 'Running' | 'Succeeded' = 'Succeeded'): void {
  for (let number = 0; number < count; number++) {
    server.jobs.set(`uid-${number}`, makeJob({ phase }, number + 1, `uid-${number}`));
  }
}

function phases(): string[] {
  return [...list.jobs.values()].map(job => job.status.phase);
}

describe('the list of jobs', () => {
  it('begins with what has not ended, and goes on to the rest for those who look', async () => {
    has(3);
    server.jobs.set('live', makeJob({ phase: 'Running' }, 9, 'live'));
    await begun(false);
    expect([...list.jobs.keys()]).toEqual(['live']);
    void list.begin(true);
    await pass();
    expect(list.jobs.size).toBe(4);
    expect(list.loading).toBe(false);
  });

  it('reads page by page, and follows the feed from the first answer on', async () => {
    has(1203);
    await begun();
    expect(list.jobs.size).toBe(1203);
    expect(server.socket.since).toBe(10);
  });

  it('takes what the feed tells, and no state that is older', async () => {
    server.jobs.set('a', makeJob({ phase: 'Running' }, 5, 'a'));
    await begun();
    server.socket.tell(12, { object: makeJob({ phase: 'Succeeded' }, 12, 'a') });
    server.socket.tell(13, { object: makeJob({ phase: 'Running' }, 11, 'a') });
    await pass();
    expect(phases()).toEqual(['Succeeded']);
  });

  it('leaves out the jobs of others, unless they are asked for', async () => {
    await begun();
    const other = makeJob({ phase: 'Running' }, 12, 'b');
    other.metadata.owner = 'grace';
    server.socket.tell(12, { object: other });
    expect(list.jobs.size).toBe(0);
    server.jobs.set('b', other);
    void list.show('all');
    await pass();
    expect(list.jobs.size).toBe(1);
  });

  it('drops what is deleted, also while its page is still on the way', async () => {
    has(2);
    await begun();
    let answer = (): void => undefined;
    const { jobs } = server;
    const late = new Promise<void>(resolve => (answer = resolve));
    const page = server.list;
    server.list = async query => {
      const found = await page(query);
      await late;
      return found;
    };
    server.socket.break(4410);
    await pass(1000);
    server.socket.open();
    await pass();
    server.socket.tell(20, { type: 'DELETED', object: makeJob({}, 20, 'uid-0') });
    jobs.delete('uid-0');
    answer();
    await pass();
    expect([...list.jobs.keys()]).toEqual(['uid-1']);
  });

  it('reads all anew where the feed left something out, and forgets what is gone', async () => {
    has(3);
    await begun();
    server.jobs.delete('uid-1');
    server.socket.break(4410);
    await pass(1000);
    server.socket.open();
    await pass();
    expect([...list.jobs.keys()].sort()).toEqual(['uid-0', 'uid-2']);
  });

  it('keeps a place in the line until the next reading', async () => {
    server.jobs.set('a', makeJob({ position: 4, waitingFor: 'CPU' }, 5, 'a'));
    await begun();
    server.socket.tell(12, { object: makeJob({}, 12, 'a') });
    await pass();
    expect(list.jobs.get('a')?.status.position).toBe(4);
    server.jobs.set('a', makeJob({ position: 3 }, 12, 'a'));
    list.watchPlaces(true);
    await pass();
    expect(list.jobs.get('a')?.status.position).toBe(3);
  });

  it('says what the server says, and comes back by itself where it was away', async () => {
    server.away = true;
    void list.begin(true);
    await pass();
    expect(list.problem).toBeInstanceOf(ApiError);
    server.away = false;
    has(1);
    await pass(5000);
    expect(list.problem).toBeNull();
    expect(list.jobs.size).toBe(1);
  });

  it('tells that it is cut off, and that it is live again', async () => {
    await begun();
    const told: boolean[] = [];
    store.liveChanged.connect((_, live) => void told.push(live));
    expect(store.live).toBe(true);
    server.socket.break();
    await pass(1000);
    server.socket.open();
    expect(told).toEqual([false, true]);
  });
});

describe('a list whose feed is not there', () => {
  it('says so and is read all the same, where the feed was refused from the first', async () => {
    server.jobs.set('a', makeJob({ phase: 'Running' }, 5, 'a'));
    void list.begin(true);
    await pass();
    expect(store.live).toBe(true);
    server.socket.break();
    expect(store.live).toBe(false);
    server.jobs.set('a', makeJob({ phase: 'Succeeded' }, 12, 'a'));
    server.jobs.set('short', makeJob({ phase: 'Failed' }, 13, 'short'));
    await pass(5000);
    expect(phases()).toEqual(['Succeeded', 'Failed']);
  });

  it('says so where the connection hangs', async () => {
    void list.begin(false);
    await pass(2000);
    expect(store.live).toBe(true);
    await pass(2000);
    expect(store.live).toBe(false);
    server.socket.open();
    expect(store.live).toBe(true);
  });

  it('looks after a feed that is silent and seems to be open', async () => {
    server.jobs.set('a', makeJob({ phase: 'Running' }, 5, 'a'));
    await begun();
    server.jobs.set('a', makeJob({ phase: 'Succeeded' }, 12, 'a'));
    await pass(65_000);
    expect(phases()).toEqual(['Succeeded']);
  });

  it.each([3, 60])('counts none of %d that have ended meanwhile, also for those who only count', async count => {
    has(count, 'Running');
    await begun(false);
    expect(list.jobs.size).toBe(count);
    has(count, 'Succeeded');
    server.jobs.forEach(job => (job.metadata.resourceVersion = '100'));
    server.jobs.delete('uid-0');
    server.socket.break(4410);
    await pass(1000);
    server.socket.open();
    await pass(1000);
    expect(phases().filter(phase => phase === 'Running')).toEqual([]);
    expect(list.jobs.has('uid-0')).toBe(false);
  });

  it('is not overtaken by its own next reading where answers are slow', async () => {
    await begun();
    const page = server.list;
    server.list = async query => {
      await new Promise(resolve => setTimeout(resolve, 6000));
      return page(query);
    };
    server.socket.break();
    server.jobs.set('a', makeJob({ phase: 'Running' }, 15, 'a'));
    await pass(20_000);
    expect(phases()).toEqual(['Running']);
  });
});

describe('a list that is refused', () => {
  it.each([429, 500])('tells the %d and asks again, when the server says', async code => {
    const page = server.list;
    server.list = () => Promise.reject(new ApiError(code, 'too much', '', [], 30));
    void list.begin(true);
    await pass(20_000);
    expect(list.problem?.message).toBe('too much');
    server.list = page;
    has(1);
    await pass(5_000);
    expect(list.jobs.size).toBe(0);
    await pass(10_000);
    expect([list.jobs.size, list.problem]).toEqual([1, null]);
  });

  it('is not asked again where that would change nothing', async () => {
    let asked = 0;
    server.list = () => {
      asked += 1;
      return Promise.reject(new ApiError(403, 'not for you'));
    };
    void list.begin(true);
    await pass(60_000);
    expect(asked).toBe(1);
  });
});

describe('what is kept of a job', () => {
  it('is neither code nor traceback nor the list of its files', () => {
    const job = makeJob({ phase: 'Failed', outputs: { filesTotal: 2, results: [{ name: 'x'.repeat(100) }] } });
    job.spec.source = { type: 'cell', code: 'secret' };
    job.status.attempts = [{ number: 1, start: 's', end: 'e', error: { ename: 'E', traceback: 'long' } }];
    const text = JSON.stringify(slim(job));
    expect(text).not.toMatch(/secret|long|xxx/);
    expect(slim(job).status.attempts).toEqual([{ number: 1, start: 's', end: 'e', usage: undefined }]);
  });
});
