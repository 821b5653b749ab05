import { ServerConnection } from '@jupyterlab/services';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError, TrainJobClient } from './client';

const NOW = Date.parse('2026-11-22T12:00:00Z');

beforeEach(() => void vi.useFakeTimers({ now: NOW }));
afterEach(() => void vi.useRealTimers());

/** A client whose server dates its answers when it is asked, as Tornado does, and takes its time. */
function client(takesMs: number, aheadMs = 0, status = 200, headers: Record<string, string> = {}) {
  const server = { takesMs };
  const fetch = async () => {
    const date = new Date(Date.now() + aheadMs).toUTCString();
    await vi.advanceTimersByTimeAsync(server.takesMs);
    return new Response('{}', { status, headers: { Date: date, ...headers } });
  };
  const settings = ServerConnection.makeSettings({ baseUrl: 'http://test/', fetch: fetch });
  return { server, client: new TrainJobClient(settings) };
}

const ref = { uid: 'u', namespace: 'ada', name: 'a' };

describe('the clock of the server', () => {
  it('is not moved by an answer that was waited for', async () => {
    const { client: ours } = client(15_000);
    await ours.log(ref, 0, 1, 15);
    expect(ours.now()).toBe(Date.now());
  });

  it('is known from a prompt answer, and kept through a long one', async () => {
    const { server, client: ours } = client(10, 60_000);
    await ours.get(ref);
    server.takesMs = 15_000;
    await ours.log(ref, 0, 1, 15);
    expect(Math.abs(ours.now() - Date.now() - 60_000)).toBeLessThan(1_100);
  });
});

describe('a request that waits', () => {
  it('is let go where nobody wants its answer any more', async () => {
    const sent: Request[] = [];
    const settings = ServerConnection.makeSettings({
      baseUrl: 'http://test/',
      fetch: (request: RequestInfo | URL) => {
        const { signal } = request as Request;
        sent.push(request as Request);
        return new Promise((_, fail) => signal.addEventListener('abort', () => fail(new Error('aborted'))));
      }
    });
    const turn = new AbortController();
    const waiting = new TrainJobClient(settings).logged(ref, 5, 20, turn.signal).catch((error: unknown) => error);
    turn.abort();
    expect(await waiting).toMatchObject({ code: 0, passing: true });
    expect(sent[0].url).toMatch(/metrics\?offset=5&limit=1&wait=20/);
  });
});

describe('a refusal', () => {
  it('says when to ask again', async () => {
    const { client: ours } = client(0, 0, 429, { 'Retry-After': '7' });
    const error: ApiError = await ours.get(ref).then(
      () => expect.fail('it was refused'),
      reason => reason
    );
    expect([error.code, error.retryAfterSeconds, error.retryable, error.passing]).toEqual([429, 7, true, false]);
  });

  it.each([
    [0, true],
    [500, true],
    [503, true],
    [403, false],
    [404, false],
    [422, false]
  ])('of code %d: asking again may help: %s', (code, helps) => expect(new ApiError(code, '').retryable).toBe(helps));
});
