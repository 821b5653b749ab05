import { describe, expect, it } from 'vitest';

import { ISeries } from '../api/types';
import { makeJob, trans } from '../testing';
import { axesOf, ParallelView, rangeOn, within } from './parallel';
import { tableOf } from './table';

function job(uid: string, parameters: Record<string, unknown>, loss: number | null) {
  const made = makeJob({ phase: 'Succeeded' }, 1, uid);
  const metrics: ISeries['metrics'] =
    loss === null ? {} : { loss: { count: 1, last: loss, minimum: loss, maximum: loss, points: [] } };
  const series: ISeries = { attempt: 1, complete: true, metrics };
  return { job: { ...made, spec: { ...made.spec, parameters } }, series };
}

const jobs = [
  job('a', { rate: 0.1, optimizer: 'adam' }, 4),
  job('b', { rate: 0.5, optimizer: 'sgd' }, 2),
  job('c', { rate: 0.3, optimizer: 'sgd' }, null)
];
const table = tableOf(jobs);

/** The jobs as they are drawn, what is chosen, and a hand on an axis: from 26 at its head to 156 at its foot. */
function drawn() {
  const told: string[][] = [];
  const view = new ParallelView(trans, uids => told.push(uids));
  view.show(table, new Set(['a', 'b', 'c']));
  const svg = view.node.querySelector('svg')!;
  const fire = (type: string, clientY: number, axis = 'p:rate') =>
    svg
      .querySelector(`[data-axis="${axis}"]`)!
      .dispatchEvent(new MouseEvent(type, { bubbles: true, button: 0, clientY }));
  return { view, svg, told, fire };
}

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
    const axes = axesOf(table);
    const uids = (ranges: [string, [number, number]][]) => {
      const marks = ranges.map(([id, range]) => [id, { on: axes.find(axis => axis.id === id)!, range }] as const);
      return within(table.rows, axes, new Map(marks)).map(row => row.job.metadata.uid);
    };
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
    const { view, svg, told, fire } = drawn();
    expect(view.node.hidden).toBe(false);
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

  it('are marked as before where the browser took the pointer away', () => {
    const { svg, told, fire } = drawn();
    fire('pointerdown', 29);
    fire('pointermove', 60);
    fire('pointerup', 60); // b
    const marks = () =>
      [...svg.querySelectorAll('rect.jp-mod-range')].map(rect =>
        ['x', 'y', 'height'].map(name => rect.getAttribute(name))
      );
    const before = marks();
    for (const axis of ['p:rate', 'm:loss']) {
      fire('pointerdown', 29, axis);
      fire('pointermove', 120, axis);
      expect(marks()).not.toEqual(before);
      fire('pointercancel', 120, axis);
      expect(marks()).toEqual(before);
    }
    fire('pointerdown', 29, 'p:optimizer');
    fire('pointermove', 160, 'p:optimizer');
    fire('pointerup', 160, 'p:optimizer');
    expect(told).toEqual([['b'], ['b']]);
  });

  it('are chosen by the values that were marked, whatever comes in later', () => {
    const { view, svg, told, fire } = drawn();
    fire('pointerdown', 29, 'm:loss');
    fire('pointermove', 91, 'm:loss');
    fire('pointerup', 91, 'm:loss'); // from 3 to 4
    const more = tableOf([...jobs.slice(0, 2), job('c', { rate: 0.3, optimizer: 'sgd' }, 12)]);
    view.show(more, new Set(['a']));
    const height = Number(svg.querySelector('rect.jp-mod-range')!.getAttribute('height'));
    expect(height).toBeCloseTo(13); // a tenth of the axis from 2 to 12
    fire('pointerdown', 29);
    fire('pointermove', 160);
    fire('pointerup', 160); // all rates
    expect(told).toEqual([['a'], ['a']]);
  });

  it('have marks whose places follow the axis, as far as it goes', () => {
    const at = (...losses: number[]) => axesOf(tableOf(losses.map((loss, index) => job(`j${index}`, {}, loss))))[0];
    const range: [number, number] = [0.25, 0.75];
    expect(rangeOn(at(0, 4), { on: at(0, 4), range })).toEqual(range);
    expect(rangeOn(at(0, 8), { on: at(0, 4), range })).toEqual([0.125, 0.375]);
    expect(rangeOn(at(2, 4), { on: at(0, 4), range })).toEqual([0, 0.5]);
    expect(rangeOn(at(0, 8), { on: at(4), range })).toEqual([0.375, 0.625]); // from 3 to 5, where 4 stood alone
    const words = (...all: string[]) => axesOf(tableOf(all.map(word => job(word, { word }, null))))[0];
    expect(rangeOn(words('a', 'b', 'c'), { on: words('a', 'c'), range: [0, 0.5] })).toEqual([0, 0.5]);
    expect(rangeOn(words('a', 'c', 'd'), { on: words('a', 'c'), range: [0, 1] })).toEqual([0, 0.5]);
  });
});
