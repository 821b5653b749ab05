import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError } from '../api/client';
import { ILogChunk } from '../api/types';
import { LogFollower } from './follower';

/** A log that grows, read as the server reads it. */
class GrowingLog {
  text = '';
  complete = false;
  reads: number[] = [];
  away = false;

  fetch = (offset: number, limit: number): Promise<ILogChunk> => {
    this.reads.push(offset);
    if (this.away) {
      return Promise.reject(new ApiError(0, 'no answer'));
    }
    const data = new TextEncoder().encode(this.text.slice(offset, offset + limit));
    const { text, complete } = this;
    return Promise.resolve({ data, offset, nextOffset: offset + data.length, size: text.length, complete });
  };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('following a log', () => {
  it('reads on where it was and stops at the end', async () => {
    const log = new GrowingLog();
    const follower = new LogFollower(log.fetch);
    log.text = 'one\n';
    follower.start();
    await vi.advanceTimersByTimeAsync(10);
    expect(follower.tail.lines(5)).toEqual(['one']);
    log.text += 'two\n';
    log.complete = true;
    await vi.advanceTimersByTimeAsync(1000);
    expect(follower.tail.lines(5)).toEqual(['one', 'two']);
    const count = log.reads.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(log.reads.length).toBe(count);
  });

  it('asks ever less often where nothing comes, and at once when told', async () => {
    const log = new GrowingLog();
    const follower = new LogFollower(log.fetch);
    follower.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(log.reads.length).toBeLessThan(30);
    const count = log.reads.length;
    follower.poke();
    await vi.advanceTimersByTimeAsync(1);
    expect(log.reads.length).toBe(count + 1);
    follower.dispose();
  });

  it('reads only the end of a log that is far ahead', async () => {
    const log = new GrowingLog();
    log.text = 'line\n'.repeat(100_000) + 'last\n';
    const follower = new LogFollower(log.fetch);
    follower.start();
    await vi.advanceTimersByTimeAsync(10);
    expect(log.reads).toHaveLength(2);
    expect(follower.tail.lines(2)).toEqual(['line', 'last']);
    follower.dispose();
  });

  it('comes back after the server was away, and loses nothing', async () => {
    const log = new GrowingLog();
    log.text = 'one\n';
    const follower = new LogFollower(log.fetch);
    follower.start();
    await vi.advanceTimersByTimeAsync(10);
    log.away = true;
    log.text += 'two\n';
    await vi.advanceTimersByTimeAsync(3_000);
    log.away = false;
    await vi.advanceTimersByTimeAsync(6_000);
    expect(follower.tail.lines(5)).toEqual(['one', 'two']);
    follower.dispose();
  });

  it('does nothing while stopped', async () => {
    const log = new GrowingLog();
    const follower = new LogFollower(log.fetch);
    follower.start();
    await vi.advanceTimersByTimeAsync(10);
    follower.stop();
    const count = log.reads.length;
    follower.poke();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(log.reads.length).toBe(count);
  });
});
