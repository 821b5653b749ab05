import { describe, expect, it } from 'vitest';

import { makeJob, trans } from '../testing';
import { CardView } from './view';

const NOW = Date.parse('2026-05-01T10:00:07Z');

function shown(view: CardView): string[] {
  const { cancel, retry, notebook, outputs, log } = view.buttons;
  return [cancel, retry, notebook, outputs, log].filter(button => !button.hidden).map(button => button.textContent);
}

describe('a card', () => {
  it('offers what can be done now', () => {
    const view = new CardView('digits-x7k2p', trans);
    expect(shown(view)).toEqual([]);
    view.update(makeJob(), NOW);
    expect(shown(view)).toEqual(['Cancel']);
    view.update(makeJob({ phase: 'Running', attempts: [{ number: 1 }] }), NOW);
    expect(shown(view)).toEqual(['Cancel']);
    view.update(makeJob({ phase: 'Running', attempts: [{ number: 1 }], progress: { cellsDone: 0, cells: 2 } }), NOW);
    expect(shown(view)).toEqual(['Cancel']);
    view.update(makeJob({ phase: 'Running', attempts: [{ number: 1 }], progress: { cellsDone: 1, cells: 2 } }), NOW);
    expect(shown(view)).toEqual(['Cancel', 'Open executed notebook']);
    view.update(makeJob({ phase: 'Failed', outputs: { notebook: false } }), NOW);
    expect(shown(view)).toEqual(['Run again']);
    view.update(makeJob({ phase: 'Succeeded', outputs: { notebook: true, filesTotal: 1 } }), NOW);
    expect(shown(view)).toEqual(['Run again', 'Open executed notebook', 'Outputs']);
  });

  it('shows a few lines of the log, and more when asked', () => {
    const view = new CardView('digits-x7k2p', trans);
    view.ownNamespace = 'ada';
    view.update(makeJob({ phase: 'Running', attempts: [{ number: 1 }] }), NOW);
    const lines = Array.from({ length: 30 }, (_, index) => `line ${index}`);
    const log = view.node.querySelector('[role=log]')!;
    view.log(lines, true);
    expect(log.textContent.split('\n')).toEqual(lines.slice(-12));
    expect(view.node.textContent).not.toContain('Only the end');
    view.logIsLong = true;
    view.log(lines, true);
    expect(log.textContent.split('\n')).toEqual(lines);
    expect(view.node.textContent).toContain(
      'Only the end is shown here: %trainjob logs digits-x7k2p prints all of it.'
    );
    const job = makeJob({ phase: 'Running', attempts: [{ number: 1 }] });
    view.update({ ...job, metadata: { ...job.metadata, namespace: 'ml-2026' } }, NOW);
    view.log(lines, true);
    expect(view.node.textContent).toContain('%trainjob logs digits-x7k2p -n ml-2026 prints all of it.');
  });

  it('speaks only of changes of the state, not of the passing time', () => {
    const view = new CardView('digits-x7k2p', trans);
    const job = makeJob({ phase: 'Running', attempts: [{ number: 1, start: '2026-05-01T10:00:00Z' }] });
    view.update(job, NOW);
    const live = view.node.querySelector('[aria-live=polite]')!;
    const node = live.firstChild;
    view.tick(job, NOW + 5000);
    view.update(job, NOW + 6000);
    expect(live.firstChild).toBe(node);
    expect(view.node.querySelector('.jp-TrainJobCard-elapsed')?.textContent).toBe('13 s');
  });

  it('begins with the traceback closed and keeps an open one open', () => {
    const view = new CardView('digits-x7k2p', trans);
    const error = { ename: 'ValueError', traceback: '\x1b[31mValueError\x1b[0m: no' };
    const job = makeJob({ phase: 'Failed', reason: 'CodeError', attempts: [{ number: 1, error }] });
    view.update(job, NOW);
    const details = view.node.querySelector('details')!;
    expect(details.textContent).toContain('ValueError: no');
    expect(details.open).toBe(false);
    details.open = true;
    view.update(job, NOW);
    expect(view.node.querySelector('details')!.open).toBe(true);
  });

  it('has only text of what others wrote', () => {
    const evil = '<img src=x onerror=alert(1)>';
    const view = new CardView(evil, trans);
    const job = makeJob({
      phase: 'Failed',
      reason: evil,
      message: evil,
      conditions: [{ type: 'X', status: 'False', message: evil }],
      attempts: [{ number: 1, error: { ename: evil, traceback: evil } }]
    });
    job.spec.queue = evil;
    view.update(job, NOW);
    view.log([evil], false);
    expect(view.node.querySelectorAll('img')).toHaveLength(0);
    expect(view.node.textContent.split(evil).length).toBeGreaterThan(5);
  });

  it('says why there is no job', () => {
    const view = new CardView('digits-x7k2p', trans);
    view.update(makeJob({ phase: 'Running', attempts: [{ number: 1 }] }), NOW);
    view.absent('This job is gone, or it is not yours to see.');
    expect(shown(view)).toEqual([]);
    expect(view.node.querySelector('[role=status]')?.textContent).toContain('gone');
  });
});
