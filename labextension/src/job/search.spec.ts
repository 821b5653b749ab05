import { describe, expect, it } from 'vitest';

import { ILogQuery } from '../api/client';
import { ILogHits } from '../api/types';
import { LogSearch } from './search';

/** A server that looks at so many characters an answer. */
function server(text: string, piece = Infinity) {
  const asked: ILogQuery[] = [];
  const search = (query: ILogQuery): Promise<ILogHits> => {
    asked.push(query);
    const all = query.ignoreCase ? text.toLowerCase() : text;
    const end = Math.min(query.end ?? all.length, all.length);
    const until = Math.min(end, query.offset + piece);
    const places: number[] = [];
    for (
      let at = all.indexOf(query.text, query.offset);
      at >= 0;
      at = all.indexOf(query.text, at + query.text.length)
    ) {
      if (at + query.text.length <= until) {
        places.push(at);
      }
    }
    const next = until - query.text.length + 1;
    const nextOffset = until < end ? Math.max(next, (places[places.length - 1] ?? 0) + 1) : null;
    return Promise.resolve({ offsets: places.slice(0, query.limit), count: places.length, nextOffset });
  };
  return { asked, search };
}

describe('searching a log', () => {
  it('finds all, from where one is and round, as far as the server goes each time', async () => {
    const text = 'Needle ' + 'x'.repeat(50) + ' needle ' + 'y'.repeat(50) + ' needle';
    const { search, asked } = server(text, 40);
    const counts: number[] = [];
    const one = new LogSearch(search, 'needle', () => counts.push(one.count));
    await one.run(60);
    expect(one.hits).toEqual([0, 58, 116]);
    expect([one.count, one.done]).toEqual([3, true]);
    expect(counts).toEqual([1, 2, 3, 3]);
    expect(asked[0].offset).toBe(60);
    expect(asked.every(({ ignoreCase }) => ignoreCase)).toBe(true);
    expect(one.next(-1)).toBe(0);
    expect(one.next(116)).toBe(0);
    expect(one.next(0, true)).toBe(116);
  });

  it('counts a hit once that lies across the place where it began', async () => {
    const { search } = server('..needle..');
    const one = new LogSearch(search, 'needle', () => undefined);
    await one.run(4);
    expect([one.hits, one.count]).toEqual([[2], 1]);
  });

  it('takes capitals at their word where there are some', async () => {
    const { search, asked } = server('Error error');
    const one = new LogSearch(search, 'Error', () => undefined);
    await one.run(0);
    expect([one.count, asked[0].ignoreCase, asked.length]).toEqual([1, false, 1]);
    const none = new LogSearch(search, 'blau', () => undefined);
    await none.run(0);
    expect([none.count, none.done, none.next(0)]).toEqual([0, true, -1]);
  });

  it('goes one by one to the first ten thousand, and counts the rest', async () => {
    const { search, asked } = server('a'.repeat(12_000), 7_000);
    const one = new LogSearch(search, 'a', () => undefined);
    await one.run(0);
    expect([one.hits.length, one.count]).toEqual([10_000, 12_000]);
    expect(asked.map(({ limit }) => limit)).toEqual([10_000, 3_000]);
  });

  it('takes nothing more once it was stopped', async () => {
    const { search } = server('needle needle', 6);
    let told = 0;
    const one = new LogSearch(search, 'needle', () => {
      told += 1;
      one.stop();
    });
    await one.run(0);
    expect([told, one.count, one.stopped]).toEqual([1, 1, true]);
  });
});
