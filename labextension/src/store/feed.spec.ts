import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Server, settle } from '../testing';
import { Feed } from './feed';

let server: Server;
let feed: Feed;
let open: boolean[];

beforeEach(async () => {
  vi.useFakeTimers();
  server = new Server();
  feed = new Feed(server, 5);
  open = [];
  feed.openChanged.connect((_, now) => open.push(now));
  await settle();
  server.sockets[0].open();
});

afterEach(() => {
  feed.dispose();
  vi.useRealTimers();
});

describe('the feed', () => {
  it.each(['offline', 'online'])(
    'does not trust its connection when the page is %s, and goes on where it was',
    event => {
      server.sockets[0].tell(8);
      window.dispatchEvent(new Event(event));
      expect(open).toEqual([true, false]);
      expect(server.sockets[0].closed).toBe(true);
      expect(server.sockets.map(socket => socket.since)).toEqual([5, 8]);
      server.sockets[1].open();
      expect(open).toEqual([true, false, true]);
    }
  );

  it('does not trust it after a sleep either', () => {
    vi.advanceTimersByTime(30_000);
    expect(server.sockets).toHaveLength(1);
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(5_000);
    expect(server.sockets).toHaveLength(2);
    vi.advanceTimersByTime(60_000);
    expect(server.sockets).toHaveLength(2);
  });

  it('listens to nothing any more once it is disposed', () => {
    feed.dispose();
    window.dispatchEvent(new Event('online'));
    expect(server.sockets).toHaveLength(1);
  });

  it('opens one connection where the network changes while it asks for the version', async () => {
    feed.dispose();
    const fresh = new Feed(server);
    window.dispatchEvent(new Event('online'));
    await settle();
    expect(server.sockets).toHaveLength(2);
    fresh.dispose();
  });
});
