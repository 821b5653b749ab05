import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { element, setText } from '../card/dom';
import { groupOf } from '../store/groups';
import { JobStore } from '../store/jobs';
import { JobList } from '../store/list';

/** How many of one's jobs run and wait; a click shows them. */
export class JobsStatus extends Widget {
  constructor(
    private _list: JobList,
    private _store: JobStore,
    private _trans: TranslationBundle,
    open: () => void
  ) {
    super();
    this.addClass('jp-TrainJobStatus');
    this._button.onclick = open;
    this._button.title = _trans.__('Show the jobs');
    this.node.append(this._button);
    _list.changed.connect(this._show, this);
    _store.liveChanged.connect(this._show, this);
    this._show();
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._list.changed.disconnect(this._show, this);
      this._store.liveChanged.disconnect(this._show, this);
      super.dispose();
    }
  }

  private _show(): void {
    let running = 0;
    let waiting = 0;
    for (const job of this._list.jobs.values()) {
      const group = groupOf(job);
      if (job.metadata.owner === this._list.username) {
        running += group === 'running' ? 1 : 0;
        waiting += group === 'waiting' ? 1 : 0;
      }
    }
    const words = this._list.ready
      ? this._trans.__('Jobs: %1 running, %2 waiting', running, waiting)
      : this._trans.__('Jobs');
    setText(this._button, this._store.live ? words : this._trans.__('Jobs: reconnecting…'));
  }

  private _button = element('button', { type: 'button', class: 'jp-TrainJobStatus-button' });
}
