import { describe, expect, it } from 'vitest';

import { ITrainJob } from '../api/types';
import { makeJob } from '../testing';
import { EVERYTHING, groupOf, IFilter, isGroup, passes, rowsOf, sameFilter } from './groups';

const NOW = Date.parse('2026-11-22T12:00:00Z');

function made(
  phase: ITrainJob['status']['phase'],
  minutesAgo: number,
  change: Partial<ITrainJob['metadata']> = {}
): ITrainJob {
  const job = makeJob({ phase }, 1, `${phase}-${minutesAgo}`);
  const creationTimestamp = new Date(NOW - minutesAgo * 60_000).toISOString();
  return { ...job, metadata: { ...job.metadata, creationTimestamp, ...change } };
}

function passing(filter: Partial<IFilter>, ...jobs: ITrainJob[]): string[] {
  return jobs.filter(passes({ ...EVERYTHING, ...filter }, NOW)).map(job => job.metadata.uid);
}

describe('the rows of a list', () => {
  it('are grouped by state, what runs first, and newest first in each', () => {
    const jobs = [made('Succeeded', 9), made('Running', 3), made('Queued', 1), made('Running', 2), made('Admitted', 5)];
    const rows = rowsOf(jobs, () => true, new Set());
    const told = rows.map(row => (isGroup(row) ? `${row.group} ${row.count}` : row.metadata.uid));
    expect(told).toEqual([
      'running 3',
      'Running-2',
      'Running-3',
      'Admitted-5',
      'waiting 1',
      'Queued-1',
      'succeeded 1',
      'Succeeded-9'
    ]);
  });

  it('leave out the jobs of a group that is closed, and count them all the same', () => {
    const rows = rowsOf([made('Failed', 1), made('Failed', 2)], () => true, new Set(['failed']));
    expect(rows).toEqual([{ group: 'failed', count: 2, open: false }]);
  });

  it('know a state of a newer server as no success', () => {
    expect(groupOf(made('Exploded' as never, 1))).toBe('failed');
  });
});

describe('a filter', () => {
  const labelled = made('Running', 1, {
    labels: { sweep: 'lr', 'jupyter-trainjob/code': 'abc' },
    name: 'digits-aaaaa'
  });
  const old = made('Failed', 60 * 30);

  it('finds text in names, owners and labels, but not in labels of the server', () => {
    expect(passing({ text: 'DIGITS' }, labelled)).toHaveLength(1);
    expect(passing({ text: 'sweep=l' }, labelled)).toHaveLength(1);
    expect(passing({ text: 'abc' }, labelled)).toHaveLength(0);
  });

  it('takes a label with a value, or with any', () => {
    expect(passing({ label: 'sweep=lr' }, labelled, old)).toEqual(['Running-1']);
    expect(passing({ label: 'sweep' }, labelled, old)).toEqual(['Running-1']);
    expect(passing({ label: 'sweep=other' }, labelled, old)).toEqual([]);
  });

  it('takes states, queues and times together', () => {
    expect(passing({ groups: ['failed', 'running'], hours: 24 }, labelled, old)).toEqual(['Running-1']);
    expect(passing({ queue: 'default', groups: ['failed'] }, labelled, old)).toEqual([old.metadata.uid]);
    expect(passing({ queue: 'gpu' }, labelled, old)).toEqual([]);
  });

  it('is the same in whichever order its states were chosen', () => {
    const filter: IFilter = { ...EVERYTHING, groups: ['failed', 'running'] };
    expect(sameFilter(filter, { ...EVERYTHING, groups: ['running', 'failed'] })).toBe(true);
    expect(sameFilter(filter, EVERYTHING)).toBe(false);
  });
});
