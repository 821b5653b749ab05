import { CommandRegistry } from '@lumino/commands';
import { describe, expect, it, vi } from 'vitest';

import { Row } from '../store/groups';
import { makeJob } from '../testing';
import { RowKeys } from './keys';
import { Selection } from './selection';

function place() {
  const items: Row[] = [
    { group: 'waiting', count: 2, open: true },
    makeJob({}, 1, 'a'),
    makeJob({}, 1, 'b'),
    { group: 'failed', count: 3, open: false }
  ];
  const node = document.createElement('div');
  const list = { node, items, indexOf: () => 1, nodeOf: () => undefined, scrollTo: vi.fn() };
  const selection = new Selection(() => items);
  const told = { toggle: vi.fn(), open: vi.fn(), cancel: vi.fn(), changed: vi.fn(), moved: vi.fn() };
  const keys = new RowKeys({ list, selection, commands: new CommandRegistry(), ...told });
  const press = (key: string, more: KeyboardEventInit = {}) => {
    const event = new KeyboardEvent('keydown', { key, cancelable: true, ...more });
    keys.key(event);
    return event.defaultPrevented;
  };
  return { selection, press, ...told };
}

describe('the keys in the rows', () => {
  it('move, choose, and do as in a tree', () => {
    const { selection, press, toggle, open, cancel, moved } = place();
    press('Home');
    press('Enter');
    expect(toggle).toHaveBeenLastCalledWith('waiting', false);
    press('ArrowDown');
    expect(selection.uids()).toEqual(['a']);
    press('ArrowDown', { shiftKey: true });
    expect(selection.uids()).toEqual(['a', 'b']);
    press('Enter');
    expect(open).toHaveBeenCalledWith(2);
    press(' ');
    expect(selection.uids()).toEqual(['a']);
    press('Delete');
    expect(cancel).toHaveBeenCalledOnce();
    press('ArrowLeft');
    expect([selection.active, moved.mock.calls.length]).toEqual([0, 1]);
    press('Escape');
    expect(selection.uids()).toEqual([]);
    press('a', { ctrlKey: true });
    expect(selection.uids()).toEqual(['a', 'b']);
    press('End');
    press('ArrowRight');
    expect(toggle).toHaveBeenLastCalledWith('failed', true);
  });

  it('leave all others to the page', () => {
    const { press, selection, changed } = place();
    expect([press('a'), press('x'), press('Tab')]).toEqual([false, false, false]);
    expect([press('Enter'), press(' '), press('ArrowLeft')]).toEqual([false, false, false]); // they stand nowhere
    expect(selection.active).toBe(-1);
    expect(changed).not.toHaveBeenCalled();
  });
});
