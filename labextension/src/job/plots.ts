import type uPlot from 'uplot';

import { ISeries } from '../api/types';

/** One job's metrics, with the name to show for it. */
export interface INamedSeries {
  name: string;
  series: ISeries;
}

/** One plot: a metric of all jobs that have it. */
export interface IPlot {
  metric: string;
  names: string[];
  /** Steps, and for each job its values there; null where it has none. */
  data: uPlot.AlignedData;
}

/** A plot for each metric, in the order in which the first job that has it told it: pure. */
export function plotsOf(jobs: INamedSeries[]): IPlot[] {
  const metrics = new Set(jobs.flatMap(({ series }) => Object.keys(series.metrics)));
  return [...metrics].map(metric => {
    const having = jobs.filter(({ series }) => series.metrics[metric]);
    const steps = new Set<number>();
    having.forEach(({ series }) => series.metrics[metric].points.forEach(([step]) => steps.add(step)));
    const sorted = [...steps].sort((a, b) => a - b);
    const places = new Map(sorted.map((step, index) => [step, index]));
    const values = having.map(({ series }) => {
      // undefined: this job has no point here, and its line goes on; null: its value is no number, and the line breaks
      const row: (number | null | undefined)[] = new Array<undefined>(sorted.length).fill(undefined);
      series.metrics[metric].points.forEach(([step, value]) => (row[places.get(step)!] = value));
      return row;
    });
    return { metric, names: having.map(({ name }) => name), data: [sorted, ...values] };
  });
}
