import { describe, expect, it } from 'vitest';

import { ISeries } from '../api/types';
import { makeJob, trans } from '../testing';
import { axesOf, ParallelView, within } from './parallel';
import { tableOf } from './table';

function job(uid: string, parameters: Record<string, unknown>, loss: number | null) {
  const made = makeJob({ phase: 'Succeeded' }, 1, uid);
  const metrics: ISeries['metrics'] =
    loss === null ? {} : { loss: { count: 1, last: loss, minimum: loss, maximum: loss, points: [] } };
  const series: ISeries = { attempt: 1, complete: true, metrics };
  return { job: { ...made, spec: { ...made.spec, parameters } }, series };
}

const table = tableOf([
  job('a', { rate: 0.1, optimizer: 'adam' }, 4),
  job('b', { rate: 0.5, optimizer: 'sgd' }, 2),
  job('c', { rate: 0.3, optimizer: 'sgd' }, null)
]);

describe('jobs as lines', () => {
  it('have an axis for each parameter that differs and each metric', () => {
    const axes = axesOf(table);
    expect(axes.map(({ label, foot, head }) => [label, foot, head])).toEqual([
      ['rate', '0.1', '0.5'],
      ['optimizer', 'adam', 'sgd'],
      ['loss', '2', '4']
    ]);
    expect([0.1, 0.3, 0.5, null].map(axes[0].place)).toEqual([0, expect.closeTo(0.5), 1, null]);
    expect(['adam', 'sgd', 'other'].map(axes[1].place)).toEqual([0, 1, null]);
  });

  it('pass where they lie within all that is marked; what has no value there does not', () => {
    const uids = (ranges: [string, [number, number]][]) =>
      within(table.rows, axesOf(table), new Map(ranges)).map(row => row.job.metadata.uid);
    expect(uids([])).toEqual(['a', 'b', 'c']);
    expect(uids([['p:rate', [0.4, 1]]])).toEqual(['b', 'c']);
    expect(
      uids([
        ['p:rate', [0.4, 1]],
        ['m:loss', [0, 1]]
      ])
    ).toEqual(['b']);
  });

  it('are chosen by a drag along an axis, and all again by a click', () => {
    const told: string[][] = [];
    const view = new ParallelView(trans, uids => told.push(uids));
    view.show(table, new Set(['a', 'b', 'c']));
    expect(view.node.hidden).toBe(false);
    const svg = view.node.querySelector('svg')!;
    const fire = (type: string, clientY: number) =>
      svg
        .querySelector('[data-axis="p:rate"]')!
        .dispatchEvent(new MouseEvent(type, { bubbles: true, button: 0, clientY }));
    fire('pointerdown', 29); // near the head of the axis, which is meant
    fire('pointermove', 60);
    fire('pointerup', 60);
    expect(told).toEqual([['b']]);
    view.show(table, new Set(['b']));
    expect(svg.querySelectorAll('polyline.jp-mod-chosen')).toHaveLength(1);
    expect(svg.querySelectorAll('rect.jp-mod-range')).toHaveLength(1);
    fire('pointerdown', 100);
    fire('pointerup', 100);
    expect(told[1]).toEqual(['a', 'b', 'c']);
    fire('pointerdown', 100);
    fire('pointerup', 100);
    expect(told).toHaveLength(2); // nothing was marked
  });
});
