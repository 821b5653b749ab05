import { Notification } from '@jupyterlab/apputils';
import { StateDB } from '@jupyterlab/statedb';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { ITrainJob, refOf } from './api/types';
import { NotebookOpener } from './card/notebook';
import { endWords, memoryIn, notifyEnd } from './notices';
import { makeJob, trans } from './testing';

const times = { start: '2026-05-01T10:00:00.000000Z', end: '2026-05-01T10:03:05.000000Z' };

describe('the notice of an end', () => {
  it('says which job, how it ended and after how long', () => {
    const job = makeJob({ phase: 'Succeeded', attempts: [{ number: 1, ...times }] });
    expect(endWords(job, trans)).toBe('digits-x7k2p: Succeeded, after 3 min 5 s.');
  });

  it('says why it failed', () => {
    const message = 'ZeroDivisionError: division by zero';
    const job = makeJob({ phase: 'Failed', reason: 'CodeError', message });
    expect(endWords(job, trans)).toBe('digits-x7k2p: Failed: error in the code. ZeroDivisionError: division by zero');
  });
});

describe('notices in Lab', () => {
  const open = vi.fn(() => Promise.reject(new Error('no room')));
  const opener = { open } as unknown as NotebookOpener;
  const shown = () =>
    Notification.manager.notifications.map(({ type, message, options }) => ({ type, message, options }));
  const show = (job: ITrainJob) => {
    notifyEnd(job, opener, trans);
    return shown()[0];
  };

  afterEach(() => Notification.dismiss());

  it.each([
    ['Succeeded', 'success'],
    ['Failed', 'error'],
    ['Cancelled', 'warning']
  ] as const)('show %s as %s, and stay', (phase, type) => {
    const notice = show(makeJob({ phase }));
    expect(notice.type).toBe(type);
    expect(notice.options.autoClose).toBe(false);
    expect(notice.options.actions).toEqual([]);
  });

  it('open the executed notebook where there is one, and say why they can’t', async () => {
    const job = makeJob({ phase: 'Succeeded', outputs: { notebook: true } });
    const [action] = show(job).options.actions!;
    expect(action.label).toBe('Open executed notebook');
    action.callback(new MouseEvent('click'));
    await vi.waitFor(() => expect(shown().map(notice => notice.message)).toContain('no room'));
    expect(open).toHaveBeenCalledWith(refOf(job), '');
  });
});

describe('what is waited for', () => {
  it('lies in Lab’s state', async () => {
    const state = new StateDB();
    await memoryIn(state).save([refOf(makeJob())]);
    expect(await memoryIn(state).load()).toEqual([refOf(makeJob())]);
  });

  it('is nothing where there is no state, or none of ours', async () => {
    const state = new StateDB();
    expect(await memoryIn(state).load()).toEqual([]);
    await state.save('jupyter-trainjob:watched', [{ uid: '../../me' }, 7]);
    expect(await memoryIn(state).load()).toEqual([]);
    await memoryIn(null).save([refOf(makeJob())]);
    expect(await memoryIn(null).load()).toEqual([]);
  });
});
