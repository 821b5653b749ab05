/** Many jobs beside each other, by what differs between them: pure. */
import { ISeries, ITrainJob } from '../api/types';

export type Value = number | string | null;

export interface IColumn {
  id: string;
  label: string;
  kind: 'parameter' | 'metric' | 'state';
}

export interface ITableRow {
  job: ITrainJob;
  values: Record<string, Value>;
}

export interface ITable {
  columns: IColumn[];
  rows: ITableRow[];
}

/** Columns for each parameter that is not the same for all, and for the last value of each metric. */
export function tableOf(jobs: { job: ITrainJob; series: ISeries | null }[]): ITable {
  const parameters = new Map<string, Set<string>>();
  const metrics = new Set<string>();
  for (const { job, series } of jobs) {
    for (const [name, value] of Object.entries(job.spec.parameters ?? {})) {
      parameters.set(name, (parameters.get(name) ?? new Set()).add(JSON.stringify(value)));
    }
    Object.keys(series?.metrics ?? {}).forEach(name => metrics.add(name));
  }
  const having = (name: string) => jobs.filter(({ job }) => name in (job.spec.parameters ?? {})).length;
  const differing = [...parameters].filter(([name, values]) => values.size > 1 || having(name) < jobs.length);
  const columns: IColumn[] = [
    ...differing.map(([name]) => ({ id: `p:${name}`, label: name, kind: 'parameter' as const })),
    ...[...metrics].map(name => ({ id: `m:${name}`, label: name, kind: 'metric' as const }))
  ];
  const rows = jobs.map(({ job, series }) => {
    const values: Record<string, Value> = { name: job.metadata.name, state: job.status.phase };
    differing.forEach(([name]) => (values[`p:${name}`] = plain(job.spec.parameters?.[name])));
    metrics.forEach(name => (values[`m:${name}`] = series?.metrics[name]?.last ?? null));
    return { job, values };
  });
  return { columns, rows };
}

function plain(value: unknown): Value {
  if (value === undefined || value === null) {
    return null;
  }
  return typeof value === 'number' || typeof value === 'string' ? value : JSON.stringify(value);
}

/** Numbers as numbers, the rest as text; what is not there comes last, whichever way. */
export function sorted(rows: ITableRow[], column: string, down: boolean): ITableRow[] {
  const sign = down ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [one.values[column] ?? null, other.values[column] ?? null];
    if (a === null || b === null) {
      return a === b ? 0 : a === null ? 1 : -1;
    }
    return sign * (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));
  });
}
