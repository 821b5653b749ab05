import { describe, expect, it } from 'vitest';

import { IQueue } from '../api/types';
import { barsOf, limitValue, mayJob, mayQueue, quantity, treeOf } from './tree';

const queue = (name: string, parent?: string): IQueue => ({
  kind: 'Queue',
  metadata: { name, resourceVersion: '1' },
  spec: parent === undefined ? {} : { parent },
  status: {}
});

describe('the tree of queues', () => {
  it('has parents before children, and all at the top where a server knows no parents', () => {
    const told = (queues: IQueue[]) => treeOf(queues).map(({ queue: one, depth }) => `${depth}${one.metadata.name}`);
    expect(told([queue('c', 'a'), queue('b', ''), queue('a', ''), queue('d', 'c')])).toEqual(['0a', '1c', '2d', '0b']);
    expect(told([queue('b'), queue('a')])).toEqual(['0a', '0b']);
  });

  it('loses nobody: neither one whose parent is gone nor a ring', () => {
    expect(treeOf([queue('a', 'gone'), queue('b', 'b')]).map(node => node.depth)).toEqual([0, 0]);
    expect(treeOf([queue('a', 'b'), queue('b', 'a')])).toHaveLength(2);
  });
});

describe('bars', () => {
  it('show what is used of each limit, and what is used without one', () => {
    const use = { runningJobs: 2, queuedJobs: 0, cpu: '1500m', memory: '2Gi', gpu: 0 };
    expect(barsOf(use, { cpu: '3', memory: null, gpu: 4 })).toEqual([
      { name: 'runningJobs', used: '2', limit: '', fraction: null },
      { name: 'cpu', used: '1500m', limit: '3', fraction: 0.5 },
      { name: 'memory', used: '2Gi', limit: '', fraction: null },
      { name: 'gpu', used: '0', limit: '4', fraction: 0 }
    ]);
    expect(barsOf(undefined, undefined)).toEqual([]);
    expect(barsOf(use, { cpu: '0' })[1].fraction).toBe(1);
  });

  it('read quantities as people write them', () => {
    expect(['2', '500m', '1Gi', 4, 'x'].map(quantity)).toEqual([2, 0.5, 2 ** 30, 4, NaN]);
  });
});

describe('what one may do', () => {
  const permissions = [
    { kind: 'Queue', verbs: ['list', 'get'] },
    { kind: 'Queue', verbs: ['update'], queue: 'course' },
    { kind: 'TrainJob', verbs: ['hold'], queue: 'course' },
    { kind: 'TrainJob', verbs: ['hold', 'update'], namespace: 'ada' }
  ];

  it('is what the server permits, in the queue where it permits it', () => {
    expect(mayQueue(permissions, 'update', 'course')).toBe(true);
    expect(mayQueue(permissions, 'update', 'gpu')).toBe(false);
    expect(mayJob(permissions, 'hold', 'course', 'tess')).toBe(true);
    expect(mayJob(permissions, 'hold', 'gpu', 'tess')).toBe(false);
    expect(mayJob(permissions, 'update', 'course', 'tess')).toBe(false);
    expect(mayJob(permissions, 'update', 'course', 'ada')).toBe(true);
    expect(mayQueue([{ kind: 'Queue', verbs: ['update'] }], 'update', 'gpu')).toBe(true);
  });
});

describe('a limit that was typed', () => {
  it.each([
    ['runningJobs', ' 20 ', 20],
    ['gpu', '4', 4],
    ['cpu', '20', '20'],
    ['memory', '2Gi', '2Gi'],
    ['runningJobs', '', null]
  ] as const)('of %s, as %j', (name, text, expected) => expect(limitValue(name, text)).toBe(expected));

  it.each(['2k', '10m', '1e3', '5x', '-1', 'NaN'])('is never none, as %s: the server says that it can’t be', text => {
    expect(JSON.parse(JSON.stringify({ limit: limitValue('runningJobs', text) }))).toEqual({ limit: text });
  });
});
