import { TranslationBundle } from '@jupyterlab/translation';
import uPlot from 'uplot';

import { ApiError, told, TrainJobClient } from '../api/client';
import { IJobRef } from '../api/types';
import { element, setText } from '../card/dom';
import { shortNumber } from '../panel/spark';
import { INamedSeries, IPlot, plotsOf } from './plots';

/** Points are in no feed: of one job the server tells when more have come, of several they are read so often. */
const EVERY_MS = 2_000;
const LEAST_MS = 500;
const WAIT_SECONDS = 20;
const POINTS = 600;
const HEIGHT = 220;

/** Told apart by people who see colours differently, on light and on dark; then they begin again, dashed. */
const COLOURS = ['#2a7de1', '#e07b00', '#1f9e57', '#c2408f', '#8a63d2', '#b0891a', '#d1495b', '#2b9eb3'];

/** Live plots of what jobs log: one for each metric, with a line for each job. */
export class MetricsView {
  constructor(
    private _client: TrainJobClient,
    private _jobs: IJobRef[],
    private _trans: TranslationBundle
  ) {
    this._sizes = new ResizeObserver(() => this._resize());
    this._sizes.observe(this.node);
    this.node.append(this._words, this._plots);
    setText(this._words, _trans.__('Asking the server…'));
  }

  readonly node = element('div', { class: 'jp-TrainJobMetrics' });

  /** Shows other jobs. */
  set jobs(jobs: IJobRef[]) {
    this._jobs = jobs;
    this._shown.forEach(({ plot, node }) => {
      plot.destroy();
      node.remove();
    });
    this._shown.clear();
    this._logged = 0;
    if (this._running) {
      this._begin();
    }
  }

  start(): void {
    if (!this._running) {
      this._running = true;
      this._begin();
    }
  }

  stop(): void {
    this._running = false;
    this._end();
  }

  private _begin(): void {
    this._end();
    this._turn = new AbortController();
    void this._step(this._turn.signal);
  }

  private _end(): void {
    this._turn?.abort();
    clearTimeout(this._timer);
  }

  dispose(): void {
    this.stop();
    this._sizes.disconnect();
    this._shown.forEach(({ plot }) => plot.destroy());
    this._shown.clear();
  }

  /** One reading of all, and then the next, until its turn has ended. */
  private async _step(turn: AbortSignal): Promise<void> {
    let complete = false;
    if (!document.hidden) {
      try {
        const found = await Promise.all(this._jobs.map(job => this._read(job)));
        if (turn.aborted) {
          return;
        }
        const there = found.flatMap(one => one ?? []);
        complete = there.every(({ series }) => series.complete);
        this._show(plotsOf(there));
      } catch (error) {
        if (!(error instanceof ApiError)) {
          throw error;
        }
        if (!turn.aborted && !error.passing) {
          setText(this._words, told(error));
        }
      }
    }
    if (!turn.aborted && !complete) {
      const pause = (await this._hasMore(turn)) ? LEAST_MS : EVERY_MS;
      if (!turn.aborted) {
        this._timer = setTimeout(() => void this._step(turn), pause);
      }
    }
  }

  /** Waits until there is more of the one job that is shown; false where it can't be waited for. */
  private async _hasMore(turn: AbortSignal): Promise<boolean> {
    if (this._jobs.length !== 1 || document.hidden) {
      return false;
    }
    try {
      const before = this._logged;
      const now = await this._client.logged(this._jobs[0], before, WAIT_SECONDS, turn);
      if (!turn.aborted) {
        this._logged = now; // else another job's are counted there by now
      }
      return now > before;
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      return false; // the next reading says what is amiss
    }
  }

  /** Null where the job is gone or not ours to see, while others are: it is left out, and not asked for again. */
  private async _read(job: IJobRef): Promise<INamedSeries | null> {
    if (this._gone.has(job.uid)) {
      return null;
    }
    try {
      return { name: job.name, series: await this._client.series(job, POINTS) };
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryable || this._jobs.length === 1) {
        throw error;
      }
      this._gone.add(job.uid);
      return null;
    }
  }

  private _show(plots: IPlot[]): void {
    const none = this._trans.__(
      'Nothing was logged. In the code: log_metric("loss", 0.3), in Python, R and Scala alike.'
    );
    setText(this._words, plots.length ? '' : none);
    for (const plot of plots) {
      const key = JSON.stringify(plot.names);
      const shown = this._shown.get(plot.metric);
      if (shown?.key === key) {
        shown.plot.setData(plot.data);
      } else {
        shown?.plot.destroy();
        shown?.node.remove();
        this._add(plot, key);
      }
      this._describe(plot);
    }
  }

  private _add(plot: IPlot, key: string): void {
    const node = element('figure', { class: 'jp-TrainJobPlot' }, element('figcaption', {}, plot.metric));
    const table = element('p', { class: 'jp-TrainJobPlot-last' });
    this._plots.append(node);
    const style = getComputedStyle(this.node);
    const axis = {
      stroke: style.getPropertyValue('--jp-ui-font-color2'),
      grid: { stroke: style.getPropertyValue('--jp-border-color2'), width: 1 },
      ticks: { stroke: style.getPropertyValue('--jp-border-color2'), width: 1 }
    };
    const made = new uPlot(
      {
        width: this._width(),
        height: HEIGHT,
        scales: { x: { time: false } },
        legend: { live: true },
        cursor: { drag: { x: true, y: false } },
        axes: [axis, { ...axis, size: 60 }],
        series: [
          { label: this._trans.__('step') },
          ...plot.names.map((label, index) => ({
            label,
            stroke: COLOURS[index % COLOURS.length],
            dash: index >= COLOURS.length ? [6, 4] : undefined,
            width: 1.5,
            spanGaps: false,
            points: { show: false },
            value: (_: uPlot, value: number | null) => (value === null ? '–' : shortNumber(value))
          }))
        ]
      },
      plot.data,
      node
    );
    node.querySelector('canvas')?.setAttribute('aria-hidden', 'true');
    node.append(table);
    this._shown.set(plot.metric, { key, node, plot: made, table });
  }

  /** In words, for those who don't see the lines. */
  private _describe({ metric, names, data }: IPlot): void {
    const last = names.map((name, index) => {
      const values = (data[index + 1] as (number | null | undefined)[]).filter(
        (value): value is number => typeof value === 'number'
      );
      const words = values.length
        ? this._trans.__(
            'last %1, least %2, most %3',
            shortNumber(values[values.length - 1]),
            shortNumber(values.reduce((a, b) => Math.min(a, b))),
            shortNumber(values.reduce((a, b) => Math.max(a, b)))
          )
        : this._trans.__('no number');
      return names.length > 1 ? `${name}: ${words}` : words;
    });
    setText(this._shown.get(metric)!.table, last.join('; '));
  }

  private _resize(): void {
    const width = this._width();
    this._shown.forEach(({ plot }) => plot.width !== width && plot.setSize({ width, height: HEIGHT }));
  }

  private _width(): number {
    return Math.max(240, Math.min(900, this.node.clientWidth - 32));
  }

  private _words = element('p', { class: 'jp-TrainJobs-message', role: 'status' });
  private _plots = element('div');
  private _shown = new Map<string, { key: string; node: HTMLElement; plot: uPlot; table: HTMLElement }>();
  private _sizes: ResizeObserver;
  private _gone = new Set<string>();
  private _running = false;
  /** Bytes of points that the server told of. */
  private _logged = 0;
  /**
   * Begins with a start and with other jobs, and ends with the next or a stop: then an answer begins no loop of its own,
   * and the request that waits is let go. A browser has six connections to a server, and hidden plots would hold them.
   */
  private _turn: AbortController | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
