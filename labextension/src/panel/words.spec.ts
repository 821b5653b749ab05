import { describe, expect, it } from 'vitest';

import { makeJob, trans } from '../testing';
import { polyline, shortNumber, sparkOf } from './spark';
import { detail, remaining, when } from './words';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const running = (progress: object) =>
  makeJob({ phase: 'Running', progress, attempts: [{ number: 1, start: '2026-11-22T11:59:00Z' }] });

describe('a row says', () => {
  it('how far a job is, and about how long it will take', () => {
    expect(detail(running({ cells: 4, cellsDone: 3 }), trans, NOW)).toBe('3 of 4 cells · about 20 s left');
    expect(when(running({}), trans, NOW)).toBe('1 min 0 s');
  });

  it('nothing about the rest where nobody can tell', () => {
    expect(remaining(running({ cells: 1 }), trans, NOW)).toBe('');
    expect(remaining(running({ fraction: 0.01 }), trans, NOW)).toBe('');
  });

  it('the place in the line, and what for', () => {
    expect(detail(makeJob({ position: 2, waitingFor: 'It waits for 2 CPUs.' }), trans, NOW)).toBe(
      'Number 2 in line · It waits for 2 CPUs.'
    );
  });

  it('why it failed', () => {
    const job = makeJob({ phase: 'Failed', reason: 'OutOfMemory', message: 'It used 1.0 GiB of 1 GiB.' });
    expect(detail(job, trans, NOW)).toBe('out of memory · It used 1.0 GiB of 1 GiB.');
    const code = makeJob({ phase: 'Failed', reason: 'CodeError', message: 'ValueError: no' });
    expect(detail(code, trans, NOW)).toBe('ValueError: no');
  });

  it('who took it away, also before it ran', () => {
    const job = makeJob({ phase: 'Cancelled', message: 'Cancelled by tess before it started: not approved.' });
    job.spec.cancel = { by: 'tess', message: 'not approved' };
    expect(detail(job, trans, NOW)).toBe('Cancelled by tess before it started: not approved.');
    job.spec.cancel = { by: 'ada' };
    expect(detail(job, trans, NOW)).toBe('Cancelled');
  });

  it('when it ended: the time today, the day before', () => {
    const at = (finished: string) => when(makeJob({ phase: 'Succeeded', finished }), trans, NOW);
    expect(at('2026-11-22T11:30:00Z')).toMatch(/:30/);
    expect(at('2026-10-02T11:30:00Z')).toMatch(/2/);
    expect(at('2026-10-02T11:30:00Z')).not.toMatch(/:30/);
  });
});

describe('the picture of a metric', () => {
  const metric = (points: [number, number | null, number][]) => ({ count: 1, last: 0, minimum: 0, maximum: 1, points });

  it('is of the one that was logged last, without what is no number', () => {
    const metrics = {
      loss: metric([
        [0, 1, 10],
        [1, 0.5, 20]
      ]),
      lr: metric([
        [0, 0.1, 5],
        [1, null, 30]
      ])
    };
    expect(sparkOf({ attempt: 1, complete: false, metrics })).toEqual({ name: 'loss', last: 0.5, values: [1, 0.5] });
    expect(sparkOf({ attempt: 1, complete: false, metrics: {} })).toBeNull();
  });

  it('stays in its frame, also where nothing changes', () => {
    expect(polyline([1, 1])).toBe('0.0,16.0 64.0,16.0');
    expect(polyline([0, 2, 1])).toBe('0.0,16.0 32.0,2.0 64.0,9.0');
  });

  it('has its value in few letters', () => {
    expect([0.123456, 1234567, 0, -0.00001].map(value => shortNumber(value))).toEqual([
      '0.1235',
      '1.23e+6',
      '0',
      '-1.00e-5'
    ]);
  });
});
