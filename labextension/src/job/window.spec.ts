import { describe, expect, it } from 'vitest';

import { ApiError } from '../api/client';
import { ILogChunk } from '../api/types';
import { LogWindow, PIECE } from './window';

/** A log as the server serves it; bytes of a gap are not there. */
function served(text: string, gap: [number, number] = [0, 0], tells = false) {
  const all = new TextEncoder().encode(text);
  const log = { all, complete: true, asked: [] as number[] };
  const fetch = (offset: number, limit: number): Promise<ILogChunk> => {
    log.asked.push(offset);
    const from = offset >= gap[0] && offset < gap[1] ? gap[1] : offset;
    const until = from < gap[0] ? gap[0] : log.all.length;
    const data = log.all.slice(from, Math.min(until, from + limit));
    const nextOffset = from + data.length;
    const told = tells ? { gap } : {};
    return Promise.resolve({ data, offset: from, nextOffset, size: log.all.length, complete: log.complete, ...told });
  };
  return { log, fetch };
}

function texts(window: LogWindow): string[] {
  return window.lines.map(line => (line.gap ? `[${line.gap}]` : new TextDecoder().decode(line.bytes)));
}

const line = (number: number) => `line ${String(number).padStart(8, '0')} ${'.'.repeat(50)}\n`;
const long = Array.from({ length: 40_000 }, (_, number) => line(number)).join('');

describe('a window on a log', () => {
  it.each([true, false])('goes back over a gap of any size, told by the server: %s', async tells => {
    const gap: [number, number] = [700 * 1024, 2000 * 1024];
    const { log, fetch } = served(long, gap, tells);
    const window = new LogWindow(fetch);
    await window.toEnd();
    const rows = new Set<string>();
    for (let more = true; more; more = await window.back()) {
      texts(window).forEach(text => rows.add(text));
      expect(log.asked.length).toBeLessThan(80);
    }
    expect([window.start, window.atStart]).toEqual([0, true]);
    expect(rows).toContain(`[${gap[1] - gap[0]}]`);
    expect(rows).toContain(line(0).trimEnd());
    expect(rows).toContain(line(Math.floor(gap[0] / line(0).length) - 1).trimEnd());
  });

  it('goes back to a gap at the very beginning, and shows it', async () => {
    const window = new LogWindow(served(long, [0, 2000 * 1024]).fetch);
    await window.toEnd();
    while (await window.back()) {
      expect(window.start).toBeGreaterThanOrEqual(2000 * 1024);
    }
    expect(window.atStart).toBe(true);
    expect(texts(window)[0]).toBe(`[${2000 * 1024}]`);
  });

  it('shows a short log whole', async () => {
    const window = new LogWindow(served('one\ntwo\nthree').fetch);
    await window.toEnd();
    expect(texts(window)).toEqual(['one', 'two', 'three']);
    expect([window.atStart, window.atEnd]).toEqual([true, true]);
  });

  it('goes to the end of a long one and reads no more than that', async () => {
    const { log, fetch } = served(long);
    const window = new LogWindow(fetch);
    await window.toEnd();
    expect(window.end).toBe(long.length);
    expect(window.end - window.start).toBeLessThanOrEqual(2 * PIECE);
    expect(log.asked.length).toBeLessThanOrEqual(3);
    expect(texts(window).every(text => text.startsWith('line '))).toBe(true);
    expect(texts(window).at(-1)).toBe(line(39_999).trimEnd());
  });

  it('moves back and forth over all of it, whole lines in order, and never holds more than it may', async () => {
    const window = new LogWindow(served(long).fetch);
    await window.toEnd();
    while (await window.back()) {
      expect(window.end - window.start).toBeLessThanOrEqual(4 * PIECE);
    }
    expect(window.start).toBe(0);
    let last = -1;
    do {
      for (const text of texts(window)) {
        const number = Number(text.slice(5, 13));
        if (number > last && text.length === line(0).length - 1) {
          expect(number).toBe(last + 1);
          last = number;
        }
      }
    } while (await window.forward());
    expect(last).toBe(39_999);
  });

  it('finds the row of an offset', async () => {
    const window = new LogWindow(served(long).fetch);
    const offset = 20_000 * line(0).length + 7;
    await window.toEnd();
    await window.jump(offset);
    expect(texts(window)[window.lineAt(offset)]).toBe(line(20_000).trimEnd());
  });

  it('says where bytes were left out', async () => {
    const { fetch } = served('aaaa\nbbbb\ncccc\n', [5, 10]);
    const window = new LogWindow(fetch);
    await window.toEnd();
    await window.forward();
    expect(texts(window)).toEqual(['aaaa', '[5]', 'cccc']);
  });

  it('follows what comes', async () => {
    const { log, fetch } = served('one\n');
    log.complete = false;
    const window = new LogWindow(fetch);
    await window.toEnd();
    expect(await window.forward()).toBe(false);
    log.all = new TextEncoder().encode('one\ntwo\n');
    expect(await window.forward()).toBe(true);
    expect(texts(window)).toEqual(['one', 'two']);
  });

  it('cuts a line that never ends into rows, not within a letter', async () => {
    const window = new LogWindow(served('é'.repeat(5000)).fetch);
    await window.toEnd();
    expect(texts(window).length).toBeGreaterThan(1);
    expect(texts(window).join('')).toBe('é'.repeat(5000));
  });

  it('is empty where nothing was printed yet', async () => {
    const window = new LogWindow(() => Promise.reject(new ApiError(404, 'no log')));
    await window.toEnd();
    expect(texts(window)).toEqual([]);
  });
});
