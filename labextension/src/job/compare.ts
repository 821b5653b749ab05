import '../../style/job.css';

import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { ApiError } from '../api/client';
import { IJobRef, isFinal, ISeries, ITrainJob, refOf } from '../api/types';
import { element, setText } from '../card/dom';
import { phaseWords } from '../card/words';
import { CommandIDs } from '../commands';
import { shortNumber } from '../panel/spark';
import { JobStore } from '../store/jobs';
import { MetricsView } from './metrics';
import { ParallelView } from './parallel';
import { ITable, ITableRow, sorted, tableOf } from './table';

/** Metrics are in no feed; states are, and are shown as they come. */
const EVERY_MS = 5_000;
const SOON_MS = 200;
const POINTS = 10;
const AT_ONCE = 4;
/** More lines nobody tells apart. */
const PLOTTED = 16;

/** A sweep as a table, sortable by parameters and metrics, and the metrics of the chosen ones in one plot each. */
export class CompareView extends Widget {
  constructor(
    private _refs: IJobRef[],
    private _store: JobStore,
    private _commands: CommandRegistry,
    private _trans: TranslationBundle
  ) {
    super();
    this._uids = new Set(_refs.map(({ uid }) => uid));
    this.addClass('jp-TrainJobCompare');
    this._chosen = new Set(_refs.slice(0, PLOTTED).map(ref => ref.uid));
    this._metrics = new MetricsView(_store.client, this._plotted(), _trans);
    this._axes = new ParallelView(_trans, uids => {
      this._chosen = new Set(uids.slice(0, PLOTTED));
      this._metrics.jobs = this._plotted();
      this._show();
    });
    this._table.setAttribute('aria-label', _trans.__('Jobs beside each other'));
    this.node.append(
      this._words,
      element('div', { class: 'jp-TrainJobCompare-table', tabindex: '0' }, this._table),
      this._axes.node,
      this._metrics.node
    );
    setText(this._words, _trans.__('Asking the server…'));
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._sleep();
      this._metrics.dispose();
      super.dispose();
    }
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._wake();
    }
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._wake();
  }

  protected onBeforeHide(message: Message): void {
    this._sleep();
    super.onBeforeHide(message);
  }

  protected onBeforeDetach(message: Message): void {
    this._sleep();
    super.onBeforeDetach(message);
  }

  private _wake(): void {
    if (!this._awake) {
      this._awake = true;
      this._listening = this._store.listen();
      this._store.seen.connect(this._see, this);
      this._store.reread.connect(this._reread, this);
      this._metrics.start();
      void this._step(++this._turn);
    }
  }

  private _sleep(): void {
    this._awake = false;
    this._turn += 1;
    clearTimeout(this._timer);
    clearTimeout(this._soon);
    this._soon = undefined;
    this._store.seen.disconnect(this._see, this);
    this._store.reread.disconnect(this._reread, this);
    this._current = new Set(); // nobody tells us what happens from now on
    this._listening?.dispose();
    this._listening = null;
    this._metrics.stop();
  }

  private _see(_: JobStore, job: ITrainJob): void {
    if (this._uids.has(job.metadata.uid) && this._take(job)) {
      this._soon ??= setTimeout(() => {
        this._soon = undefined;
        this._show();
      }, SOON_MS);
    }
  }

  private _reread(_: JobStore, missed: boolean): void {
    if (missed) {
      this._current = new Set();
    }
  }

  /** Whether it is news: an answer may come after what the feed told meanwhile. */
  private _take(job: ITrainJob): boolean {
    const { uid, resourceVersion } = job.metadata;
    const known = this._known.get(uid);
    if (known && Number(resourceVersion) <= Number(known.job.metadata.resourceVersion)) {
      return false;
    }
    this._known.set(uid, { job, series: known?.series ?? null });
    return true;
  }

  private async _step(turn: number): Promise<void> {
    const due = this._refs.filter(ref => !this._over.has(ref.uid));
    const worker = async () => {
      for (let ref = due.shift(); ref && turn === this._turn; ref = due.shift()) {
        await this._read(ref);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (turn !== this._turn) {
      return; // put away meanwhile: another turn may go on already
    }
    setText(this._words, '');
    this._show();
    if (this._over.size < this._refs.length) {
      this._timer = setTimeout(() => void this._step(turn), EVERY_MS);
    }
  }

  private async _read(ref: IJobRef): Promise<void> {
    const { client, live } = this._store;
    const { uid } = ref;
    const current = this._current;
    try {
      if (!live || !current.has(uid)) {
        this._take(await client.get(ref));
        current.add(uid);
      }
      const { job } = this._known.get(uid)!; // as before the points were asked for: behind a final state they are all
      const series = await client.series(ref, POINTS);
      this._known.get(uid)!.series = series;
      if (isFinal(job) && series.complete) {
        this._over.add(uid);
      }
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      if (!error.retryable) {
        this._over.add(uid); // deleted meanwhile, or never ours: the others are still to be seen
      }
    }
  }

  private _show(): void {
    const known = this._refs.flatMap(ref => this._known.get(ref.uid) ?? []);
    const table = tableOf(known);
    const rows = sorted(table.rows, this._by, this._down);
    this._axes.show(table, this._chosen);
    // what is shown is made anew; where the keyboard stood, it stands again
    const focused = this._table.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset.key
      : undefined;
    this._table.replaceChildren(
      element('thead', {}, this._head(table)),
      element('tbody', {}, ...rows.map(row => this._row(table, row)))
    );
    if (focused) {
      const places = [...this._table.querySelectorAll<HTMLElement>('[data-key]')];
      places.find(place => place.dataset.key === focused)?.focus();
    }
  }

  private _head({ columns }: ITable): HTMLElement {
    const trans = this._trans;
    const all = [
      { id: 'name', label: trans.__('Job') },
      { id: 'state', label: trans.__('State') },
      ...columns.map(({ id, label, kind }) => ({ id, label: kind === 'metric' ? trans.__('%1 (last)', label) : label }))
    ];
    return element(
      'tr',
      {},
      element('th', { scope: 'col' }, trans.__('Plot')),
      ...all.map(({ id, label }) => {
        const button = element('button', { type: 'button', 'data-key': `by ${id}` }, label);
        button.onclick = () => {
          this._down = this._by === id && !this._down;
          this._by = id;
          this._show();
        };
        const order: Record<string, string> =
          this._by === id ? { 'aria-sort': this._down ? 'descending' : 'ascending' } : {};
        return element('th', { scope: 'col', ...order }, button);
      })
    );
  }

  private _row({ columns }: ITable, { job, values }: ITableRow): HTMLElement {
    const { name, uid } = job.metadata;
    const box = element('input', {
      type: 'checkbox',
      'data-key': `plot ${uid}`,
      'aria-label': this._trans.__('Plot %1', name)
    });
    box.checked = this._chosen.has(uid);
    box.onchange = () => {
      if (box.checked) {
        this._chosen.add(uid);
      } else {
        this._chosen.delete(uid);
      }
      this._metrics.jobs = this._plotted();
      this._show();
    };
    const open = element('button', { type: 'button', class: 'jp-TrainJobs-plain', 'data-key': `job ${uid}` }, name);
    open.onclick = () => void this._commands.execute(CommandIDs.open, { ...refOf(job) });
    const cells = columns.map(({ id }) => {
      const value = values[id];
      const number = typeof value === 'number';
      return element('td', number ? { class: 'jp-mod-number' } : {}, number ? shortNumber(value) : (value ?? '–'));
    });
    return element(
      'tr',
      {},
      element('td', {}, box),
      element('th', { scope: 'row' }, open),
      element('td', {}, phaseWords(job.status.phase, this._trans)),
      ...cells
    );
  }

  private _plotted(): IJobRef[] {
    return this._refs.filter(ref => this._chosen.has(ref.uid));
  }

  private _words = element('p', { class: 'jp-TrainJobs-message', role: 'status' });
  private _table = element('table');
  private _axes: ParallelView;
  private _metrics: MetricsView;
  private _uids: ReadonlySet<string>;
  private _known = new Map<string, { job: ITrainJob; series: ISeries | null }>();
  /** What was read since when the feed tells all that happens; another set where it has left something out. */
  private _current = new Set<string>();
  private _over = new Set<string>();
  private _chosen: Set<string>;
  private _by = 'name';
  private _down = false;
  private _awake = false;
  private _turn = 0;
  private _listening: IDisposable | null = null;
  private _soon: ReturnType<typeof setTimeout> | undefined;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
