import { describe, expect, it } from 'vitest';

import { Row } from '../store/groups';
import { makeJob } from '../testing';
import { Selection } from './selection';

const job = (uid: string): Row => makeJob({}, 1, uid);
const heading: Row = { group: 'waiting', count: 3, open: true };

function over(...rows: Row[]) {
  const shown = { rows };
  return { selection: new Selection(() => shown.rows), shown };
}

describe('choosing rows', () => {
  it('takes one, adds one, and takes all in between', () => {
    const { selection } = over(heading, job('a'), job('b'), job('c'));
    selection.pick(1, false, false);
    selection.pick(3, false, true);
    expect(selection.uids()).toEqual(['a', 'c']);
    selection.pick(1, false, false);
    selection.pick(3, true, false);
    expect(selection.uids()).toEqual(['a', 'b', 'c']);
  });

  it('goes on with the arrow keys over headings, and stops at the ends', () => {
    const { selection } = over(heading, job('a'));
    selection.move(1, false);
    expect(selection.active).toBe(0);
    selection.move(1, false);
    selection.move(1, false);
    expect([selection.active, selection.uids()]).toEqual([1, ['a']]);
  });

  it('acts upon nothing that a filter or a closed group hides', () => {
    const { selection, shown } = over(heading, job('a'), job('b'));
    selection.all();
    shown.rows = [heading, job('b')];
    expect(selection.uids()).toEqual(['b']);
    shown.rows = [{ ...heading, open: false }];
    expect(selection.uids()).toEqual([]);
  });

  it('stays where it was when rows come above', () => {
    const { selection, shown } = over(heading, job('a'));
    selection.pick(1, false, false);
    const key = selection.activeKey();
    shown.rows = [heading, job('new'), job('a')];
    selection.restore(key);
    expect(selection.active).toBe(2);
    shown.rows = [heading];
    selection.restore(key);
    expect(selection.active).toBe(0);
  });
});
