import '../../style/job.css';

import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { JobActions } from '../actions';
import { hasNotebook, IJobRef, isFinal, ITrainJob, latestAttempt } from '../api/types';
import { element, setText } from '../card/dom';
import { Tabs } from '../card/tabs';
import { bar, duration, elapsedSeconds, needs, note, stateLine } from '../card/words';
import { remaining } from '../panel/words';
import { FollowedJob, JobStore } from '../store/jobs';
import { CellsView } from './cells';
import { eventsOf } from './events';
import { FilesView } from './files';
import { LogView } from './log';
import { MetricsView } from './metrics';

export interface IJobViewContext {
  store: JobStore;
  actions: JobActions;
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  folder: () => string;
}

let counter = 0;

/** All there is about one job: log, cells, metrics, files and what happened. Each part reads only while it is seen. */
export class JobView extends Widget {
  constructor(
    readonly ref: IJobRef,
    private _context: IJobViewContext
  ) {
    super();
    const { store, rendermime, trans } = _context;
    this.addClass('jp-TrainJobView');
    const fetch = (offset: number, limit: number, wait?: number) => store.client.log(ref, offset, limit, wait);
    this._log = new LogView(ref.name, fetch, query => store.client.searchLog(ref, query), trans);
    this._cells = new CellsView(ref, store.client, rendermime, trans);
    this._metrics = new MetricsView(store.client, [ref], trans);
    this._files = new FilesView(ref, store.client, rendermime, trans);
    const tabs = [
      { id: 'log', label: trans.__('Log'), node: this._log.node },
      { id: 'cells', label: trans.__('Cells'), node: this._cells.node },
      { id: 'metrics', label: trans.__('Metrics'), node: this._metrics.node },
      { id: 'files', label: trans.__('Files'), node: this._files.node },
      { id: 'events', label: trans.__('What happened'), node: this._events }
    ];
    this._tabs = new Tabs(tabs, `jp-TrainJobView-${counter++}`, () => this._show());
    this._tabs.bar.setAttribute('aria-label', trans.__('Parts of %1', ref.name));
    const button = (label: string, action: () => unknown) => {
      const found = element('button', { type: 'button', class: 'jp-TrainJobs-plain', hidden: '' }, label);
      found.onclick = () => void action();
      return found;
    };
    const { actions, folder } = _context;
    const act = (action: (jobs: ITrainJob[]) => unknown) => () => this._job && action([this._job]);
    this._cancel = button(
      trans.__('Cancel'),
      act(jobs => actions.cancel(jobs))
    );
    this._retry = button(
      trans.__('Run again'),
      act(jobs => actions.retry(jobs))
    );
    this._notebook = button(trans.__('Open executed notebook'), () => actions.openNotebook(ref, folder()));
    this.node.append(
      element(
        'div',
        { class: 'jp-TrainJobView-head' },
        element('h2', {}, ref.name),
        this._state,
        this._time,
        this._away,
        element('div', { class: 'jp-TrainJobView-buttons' }, this._cancel, this._retry, this._notebook)
      ),
      this._note,
      this._progress,
      this._needs,
      this._tabs.bar,
      ...tabs.map(tab => tab.node)
    );
    this._progress.setAttribute('aria-label', trans.__('Progress of %1', ref.name));
    this._tabs.show('log');
  }

  /** Goes to a part: `log`, `cells`, `metrics`, `files` or `events`. */
  showPart(id: string): void {
    this._tabs.show(id);
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._sleep();
      this._unfollow();
      for (const part of [this._log, this._cells, this._metrics, this._files]) {
        part.dispose();
      }
      super.dispose();
    }
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    const { store } = this._context;
    const { followed, handle } = store.follow(this.ref);
    this._followed = followed;
    this._handle = handle;
    followed.changed.connect(this._update, this);
    store.liveChanged.connect(this._showAway, this);
    this._update();
    if (this.isVisible) {
      this._wake();
    }
  }

  protected onBeforeDetach(message: Message): void {
    this._sleep();
    this._unfollow();
    super.onBeforeDetach(message);
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._wake();
  }

  protected onBeforeHide(message: Message): void {
    this._sleep();
    super.onBeforeHide(message);
  }

  private get _job(): ITrainJob | null {
    return this._followed?.job ?? null;
  }

  private _wake(): void {
    this._awake = true;
    this._clock ??= setInterval(() => this._tick(), 1000);
    this._show();
    this._update();
  }

  private _sleep(): void {
    this._awake = false;
    clearInterval(this._clock);
    this._clock = undefined;
    this._log.stop();
    this._metrics.stop();
  }

  private _unfollow(): void {
    const { store } = this._context;
    this._followed?.changed.disconnect(this._update, this);
    store.liveChanged.disconnect(this._showAway, this);
    this._handle?.dispose();
    this._handle = this._followed = null;
  }

  /** The part that is seen goes on reading, the others stop. */
  private _show(): void {
    const shown = this._awake ? this._tabs?.shown : '';
    if (shown === 'log') {
      this._log.start();
    } else {
      this._log.stop();
    }
    if (shown === 'metrics') {
      this._metrics.start();
    } else {
      this._metrics.stop();
    }
    if (shown === 'files') {
      void this._files.read();
    }
    this._updatePart();
  }

  private _update(): void {
    const { trans } = this._context;
    const job = this._job;
    this._showAway();
    if (!job) {
      const { gone, problem } = this._followed ?? {};
      const absent = problem ? problem.message : trans.__('Asking the server…');
      setText(this._state, gone ? trans.__('This job is gone, or it is not yours to see.') : absent);
      return;
    }
    const final = isFinal(job);
    this.node.dataset.phase = job.status.phase;
    setText(this._state, stateLine(job, trans));
    setText(this._note, note(job, trans));
    setText(this._needs, needs(job, trans));
    const shown = bar(job, trans);
    this._progress.hidden = shown?.fraction === undefined || shown.fraction === null;
    this._progress.value = shown?.fraction ?? 0;
    this._cancel.hidden = final;
    this._cancel.disabled = !!job.spec.cancel;
    this._retry.hidden = !final;
    this._notebook.hidden = !hasNotebook(job);
    const attempt = latestAttempt(job)?.number ?? 0;
    if (attempt !== this._attempt || final !== this._final) {
      if (attempt > 1 && attempt !== this._attempt && this._attempt > 0) {
        this._log.reset();
      }
      this._attempt = attempt;
      this._final = final;
      if (this._awake) {
        this._show();
      }
    }
    this._tick();
    this._updatePart();
  }

  private _updatePart(): void {
    const job = this._job;
    if (!job || !this._awake) {
      return;
    }
    if (this._tabs.shown === 'cells') {
      this._cells.update(job);
    } else if (this._tabs.shown === 'events') {
      this._showEvents(job);
    }
  }

  private _showEvents(job: ITrainJob): void {
    const items = eventsOf(job, this._context.trans).map(({ time, text, amiss }) => {
      const at = time ? new Date(time).toLocaleString() : '';
      const item = element('li', {}, element('time', time ? { datetime: time } : {}, at), element('span', {}, text));
      item.classList.toggle('jp-mod-amiss', !!amiss);
      return item;
    });
    const key = items.map(item => item.textContent).join('\n');
    if (key !== this._eventsShown) {
      this._eventsShown = key;
      this._events.replaceChildren(element('ol', {}, ...items));
    }
  }

  private _tick(): void {
    const job = this._job;
    if (job) {
      const { store, trans } = this._context;
      const now = store.client.now();
      const seconds = elapsedSeconds(job, now);
      const shown = bar(job, trans);
      const words = [seconds === null ? '' : duration(seconds, trans), shown?.text ?? '', remaining(job, trans, now)];
      setText(this._time, words.filter(Boolean).join(' · '));
    }
  }

  private _showAway(): void {
    const { store, trans } = this._context;
    setText(this._away, store.live ? '' : trans.__('Reconnecting…'));
  }

  private _log: LogView;
  private _cells: CellsView;
  private _metrics: MetricsView;
  private _files: FilesView;
  private _tabs: Tabs;
  private _events = element('div', { class: 'jp-TrainJobEvents' });
  private _eventsShown = '';
  private _state = element('span', { class: 'jp-TrainJobView-state', role: 'status' });
  private _time = element('span', { class: 'jp-TrainJobView-time' });
  private _away = element('span', { class: 'jp-TrainJobs-away', role: 'status' });
  private _note = element('p', { class: 'jp-TrainJobView-note' });
  private _needs = element('p', { class: 'jp-TrainJobView-needs' });
  private _progress = element('progress', { max: '1', hidden: '' });
  private _cancel: HTMLButtonElement;
  private _retry: HTMLButtonElement;
  private _notebook: HTMLButtonElement;
  private _followed: FollowedJob | null = null;
  private _handle: IDisposable | null = null;
  private _awake = false;
  private _attempt = -1;
  private _final = false;
  private _clock: ReturnType<typeof setInterval> | undefined;
}
