/** What of many jobs is shown, and in which order: pure. */
import { ITrainJob, Phase } from '../api/types';

export type Group = 'running' | 'waiting' | 'failed' | 'succeeded' | 'cancelled';

/** In the order in which they are shown. */
export const GROUPS: readonly Group[] = ['running', 'waiting', 'failed', 'succeeded', 'cancelled'];

const GROUP_OF: Record<Phase, Group> = {
  Queued: 'waiting',
  Admitted: 'running',
  Running: 'running',
  Succeeded: 'succeeded',
  Failed: 'failed',
  Cancelled: 'cancelled'
};

export function groupOf(job: ITrainJob): Group {
  return GROUP_OF[job.status.phase] ?? 'failed';
}

/** What one looks for. Empty parts let all pass. */
export interface IFilter {
  /** In the name, the queue, a label, or the owner. */
  text: string;
  queue: string;
  /** `name=value`, or `name` alone for any value. */
  label: string;
  groups: Group[];
  /** Made in the last so many hours; 0: ever. */
  hours: number;
}

export const EVERYTHING: IFilter = { text: '', queue: '', label: '', groups: [], hours: 0 };

export function isEmpty(filter: IFilter): boolean {
  return !filter.text && !filter.queue && !filter.label && !filter.groups.length && !filter.hours;
}

/** Whether two filters let the same jobs pass. */
export function sameFilter(one: IFilter, other: IFilter): boolean {
  const normal = ({ text, queue, label, groups, hours }: IFilter) =>
    JSON.stringify([text, queue, label, [...groups].sort(), hours]);
  return normal(one) === normal(other);
}

/** A test of jobs; made once for many. `nowMs` is the server's clock. */
export function passes(filter: IFilter, nowMs: number): (job: ITrainJob) => boolean {
  const text = filter.text.trim().toLowerCase();
  const [key, value] = split(filter.label.trim());
  const since = filter.hours ? new Date(nowMs - filter.hours * 3600_000).toISOString() : '';
  return job => {
    const { labels = {}, creationTimestamp = '' } = job.metadata;
    return (
      (!filter.groups.length || filter.groups.includes(groupOf(job))) &&
      (!filter.queue || job.spec.queue === filter.queue) &&
      (!key || (key in labels && (value === null || labels[key] === value))) &&
      (!since || creationTimestamp >= since) &&
      (!text || holds(job, text))
    );
  };
}

function split(label: string): [string, string | null] {
  const at = label.indexOf('=');
  return at < 0 ? [label, null] : [label.slice(0, at).trim(), label.slice(at + 1).trim()];
}

function holds(job: ITrainJob, text: string): boolean {
  const { name, owner = '', labels = {} } = job.metadata;
  return (
    name.includes(text) ||
    (job.spec.queue ?? '').includes(text) ||
    owner.toLowerCase().includes(text) ||
    Object.entries(labels).some(
      ([key, value]) => !key.startsWith('jupyter-trainjob/') && `${key}=${value}`.toLowerCase().includes(text)
    )
  );
}

export interface IGroupRow {
  group: Group;
  count: number;
  open: boolean;
}

export type Row = IGroupRow | ITrainJob;

export function isGroup(row: Row): row is IGroupRow {
  return 'group' in row;
}

/** The rows of a list: each group's heading and, where it is open, its jobs, newest first. */
export function rowsOf(jobs: Iterable<ITrainJob>, passing: (job: ITrainJob) => boolean, closed: Set<Group>): Row[] {
  const found: Record<Group, ITrainJob[]> = { running: [], waiting: [], failed: [], succeeded: [], cancelled: [] };
  for (const job of jobs) {
    if (passing(job)) {
      found[groupOf(job)].push(job);
    }
  }
  const rows: Row[] = [];
  for (const group of GROUPS) {
    const members = found[group];
    if (members.length) {
      const open = !closed.has(group);
      rows.push({ group, count: members.length, open });
      if (open) {
        for (const job of members.sort(newestFirst)) {
          rows.push(job);
        }
      }
    }
  }
  return rows;
}

function newestFirst(one: ITrainJob, other: ITrainJob): number {
  const [a = '', b = ''] = [one.metadata.creationTimestamp, other.metadata.creationTimestamp];
  return a < b ? 1 : a > b ? -1 : 0; // RFC 3339 in UTC with microseconds: texts sort as times do
}
