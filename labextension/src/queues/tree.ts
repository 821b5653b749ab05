/** Queues as a tree with what they use, and quantities as numbers: pure. */
import { ILimits, IPermission, IQueue, IQueueUse } from '../api/types';

export interface IQueueNode {
  queue: IQueue;
  depth: number;
}

/** Parents before their children, names in order; a queue whose parent is not there stands at the top. */
export function treeOf(queues: IQueue[]): IQueueNode[] {
  const names = new Set(queues.map(queue => queue.metadata.name));
  const below = new Map<string, IQueue[]>();
  for (const queue of [...queues].sort((a, b) => a.metadata.name.localeCompare(b.metadata.name))) {
    const { parent = '' } = queue.spec;
    const above = names.has(parent) && parent !== queue.metadata.name ? parent : '';
    below.set(above, [...(below.get(above) ?? []), queue]);
  }
  const found: IQueueNode[] = [];
  const seen = new Set<string>();
  const add = (above: string, depth: number) => {
    for (const queue of below.get(above) ?? []) {
      if (!seen.has(queue.metadata.name)) {
        seen.add(queue.metadata.name);
        found.push({ queue, depth });
        add(queue.metadata.name, depth + 1);
      }
    }
  };
  add('', 0);
  // a ring of parents has no top: it is shown all the same
  queues.filter(queue => !seen.has(queue.metadata.name)).forEach(queue => found.push({ queue, depth: 0 }));
  return found;
}

export type LimitName = 'runningJobs' | 'cpu' | 'memory' | 'gpu';

export const LIMITS: readonly LimitName[] = ['runningJobs', 'cpu', 'memory', 'gpu'];

const UNITS: Record<string, number> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40
};

/** A Kubernetes quantity; NaN where it is none. */
export function quantity(text: string | number): number {
  const match = /^(\d+(?:\.\d+)?)([a-zA-Z]*)$/.exec(String(text).trim());
  return match ? Number(match[1]) * (UNITS[match[2]] ?? NaN) : NaN;
}

export interface IUseBar {
  name: LimitName;
  used: string;
  /** Empty: no limit. */
  limit: string;
  /** 0 to 1; null without a limit. */
  fraction: number | null;
}

/** What is used of each limit; without a limit only what is used at all. */
export function barsOf(use: IQueueUse | undefined, limits: ILimits | undefined): IUseBar[] {
  return LIMITS.flatMap((name): IUseBar[] => {
    const used = String(use?.[name] ?? 0);
    const limit = limits?.[name] ?? null;
    if (limit === null) {
      return quantity(used) > 0 ? [{ name, used, limit: '', fraction: null }] : [];
    }
    const most = quantity(limit);
    const fraction = most > 0 ? Math.min(1, quantity(used) / most) : quantity(used) > 0 ? 1 : 0;
    return [{ name, used, limit: String(limit), fraction }];
  });
}

/** A limit as it was typed: numbers of things as numbers, all else as text, of which the server says what it can't read. */
export function limitValue(name: LimitName, typed: string): number | string | null {
  const text = typed.trim();
  const counted = name === 'runningJobs' || name === 'gpu';
  return !text ? null : counted && /^\d+$/.test(text) ? Number(text) : text;
}

/** Whether one may do this to a queue, as the server told of one's permissions. */
export function mayQueue(permissions: IPermission[], verb: string, queue: string): boolean {
  return permissions.some(
    one =>
      one.kind === 'Queue' &&
      one.verbs.includes(verb) &&
      (one.queue === queue || (one.queue === undefined && one.namespace === undefined))
  );
}

/** Whether one may do this to a job of a queue and a namespace. */
export function mayJob(permissions: IPermission[], verb: string, queue: string, namespace: string): boolean {
  return permissions.some(
    one =>
      one.kind === 'TrainJob' &&
      one.verbs.includes(verb) &&
      (one.queue === queue || one.namespace === namespace || (one.queue === undefined && one.namespace === undefined))
  );
}
