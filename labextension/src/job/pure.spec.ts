import { describe, expect, it } from 'vitest';

import { ISeries, ITrainJob } from '../api/types';
import { makeJob, trans } from '../testing';
import { cellStates } from './cells';
import { jobFile, readJobFile } from './document';
import { eventsOf } from './events';
import { plotsOf } from './plots';
import { bundleData, PREVIEW_BYTES, previewOf } from './preview';
import { sorted, tableOf } from './table';

const metric = (...points: [number, number | null][]) => ({
  count: points.length,
  last: points[points.length - 1][1],
  minimum: 0,
  maximum: 1,
  points: points.map(([step, value]): [number, number | null, number] => [step, value, step])
});
const series = (metrics: ISeries['metrics']): ISeries => ({ attempt: 1, complete: true, metrics });

describe('what happened', () => {
  const base = makeJob({
    phase: 'Failed',
    reason: 'OutOfMemory',
    message: 'The job used more than its 1.0 GiB of memory.',
    queued: '2026-11-22T12:00:00Z',
    finished: '2026-11-22T12:02:00Z',
    attempts: [
      {
        number: 1,
        admitted: '2026-11-22T12:00:40Z',
        start: '2026-11-22T12:01:00Z',
        end: '2026-11-22T12:02:00Z',
        node: 'node-7',
        usage: { cpuSeconds: 3, peakMemoryBytes: 1024 ** 3 }
      }
    ]
  });
  base.metadata.creationTimestamp = '2026-11-22T12:00:00Z';

  it('is told in order: sent, waited, ran, ended, and why', () => {
    const told = eventsOf(base, trans).map(event => event.text);
    expect(told).toEqual([
      'Sent by ada: 1 CPU · 1Gi memory · at most 5 min · queue default',
      'waited 40 s for its turn',
      'ran on node-7',
      'Ended: out of memory. The job used more than its 1.0 GiB of memory. It ran for 1 min 0 s. It used 3.0 CPU seconds and at most 1.0 GiB of memory.'
    ]);
  });

  it('says which attempt, where there were several, and what is amiss', () => {
    const attempts = [{ number: 1, end: '2026-11-22T12:00:30Z', reason: 'NodeLost' }, ...base.status.attempts!];
    attempts[1] = { ...attempts[1], number: 2 };
    const conditions = [{ type: 'LogComplete', status: 'False' as const, message: 'The log lacks 3 bytes.' }];
    const events = eventsOf({ ...base, status: { ...base.status, attempts, conditions } }, trans);
    expect(events.map(event => event.text)).toContain('Attempt 1: ended: the machine was lost');
    expect(events.find(event => event.text === 'The log lacks 3 bytes.')?.amiss).toBe(true);
  });

  it('ends with what it waits for, while it waits', () => {
    const events = eventsOf(makeJob({ waitingFor: 'It waits for 2 CPUs.' }), trans);
    expect(events[events.length - 1].text).toBe('Queued: It waits for 2 CPUs.');
  });
});

describe('plots', () => {
  it('have one line for each job that logged the metric, on common steps', () => {
    const plots = plotsOf([
      { name: 'a', series: series({ loss: metric([0, 1], [2, 0.5]) }) },
      { name: 'b', series: series({ loss: metric([1, 3], [2, null]), lr: metric([0, 0.1]) }) }
    ]);
    expect(plots).toEqual([
      {
        metric: 'loss',
        names: ['a', 'b'],
        data: [
          [0, 1, 2],
          [1, undefined, 0.5],
          [undefined, 3, null]
        ]
      },
      { metric: 'lr', names: ['b'], data: [[0], [0.1]] }
    ]);
  });
});

describe('jobs beside each other', () => {
  const job = (uid: string, parameters: Record<string, unknown>): ITrainJob => {
    const made = makeJob({ phase: 'Succeeded' }, 1, uid);
    return { ...made, spec: { ...made.spec, parameters } };
  };
  const table = tableOf([
    { job: job('a', { lr: 0.1, depth: 3 }), series: series({ loss: metric([0, 0.5]) }) },
    { job: job('b', { lr: 0.01, depth: 3, extra: [1] }), series: series({ loss: metric([0, 0.25]) }) },
    { job: job('c', { lr: 10, depth: 3 }), series: null }
  ]);
  const order = (column: string, down = false) => sorted(table.rows, column, down).map(row => row.job.metadata.uid);

  it('show what differs, and not what is the same for all', () => {
    expect(table.columns.map(column => column.id)).toEqual(['p:lr', 'p:extra', 'm:loss']);
  });

  it('are sorted by numbers as numbers, with what is missing last either way', () => {
    expect(order('p:lr')).toEqual(['b', 'a', 'c']);
    expect(order('m:loss')).toEqual(['b', 'a', 'c']);
    expect(order('m:loss', true)).toEqual(['a', 'b', 'c']);
  });
});

describe('the cells of a job', () => {
  const code = (id: string, outputs: object[] = [], count: number | null = null) => ({
    cell_type: 'code',
    id,
    metadata: {},
    source: '',
    outputs,
    execution_count: count
  });

  it('are done, running or not run, by the id that the job tells, else by how many are done', () => {
    const cells = [
      code('a', [], 1),
      { cell_type: 'markdown', metadata: {}, source: '' },
      code('b'),
      code('c')
    ] as never;
    const running = makeJob({ phase: 'Running', progress: { cellsDone: 1, cells: 3, cellId: 'c' } });
    expect(cellStates(cells, running)).toEqual(['done', 'done', 'waiting', 'running']);
    const counted = makeJob({ phase: 'Running', progress: { cellsDone: 1, cells: 3 } });
    expect(cellStates(cells, counted)).toEqual(['done', 'done', 'running', 'waiting']);
  });

  it('that failed say so, and those behind were not run', () => {
    const cells = [code('a', [{ output_type: 'error' }], 1), code('b')] as never;
    expect(cellStates(cells, makeJob({ phase: 'Failed' }))).toEqual(['failed', 'waiting']);
  });
});

describe('a look at a file', () => {
  it('is for what cannot do harm and is not too large', () => {
    expect(previewOf('a/plot.PNG', 10)?.mime).toBe('image/png');
    expect(previewOf('page.html', 10)?.mime).toBe('text/plain');
    expect(previewOf('picture.svg', 10)?.mime).toBe('text/plain');
    expect(previewOf('model.pkl', 10)).toBeNull();
    expect(previewOf('big.csv', PREVIEW_BYTES + 1)).toBeNull();
  });

  it('has images as base64 and broken JSON as text', () => {
    const bytes = (text: string) => new TextEncoder().encode(text).buffer;
    expect(bundleData({ mime: 'image/png', binary: true }, bytes('abc'))).toBe('YWJj');
    expect(bundleData({ mime: 'application/json', binary: false }, bytes('{"a": 1}'))).toEqual({ a: 1 });
    expect(bundleData({ mime: 'application/json', binary: false }, bytes('{a'))).toBe('{a');
  });
});

describe('a file that names a job', () => {
  it('holds a reference and nothing else, and anything else names none', () => {
    const ref = { uid: '0f8fad5b-d9cb-469f-a165-70867728950e', namespace: 'ada', name: 'digits' };
    expect(readJobFile(jobFile(ref))).toEqual(ref);
    expect(readJobFile('{"uid": "../../x", "namespace": "a"}')).toBeNull();
    expect(readJobFile('<b>')).toBeNull();
  });
});
