import { Dialog, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { told } from '../api/client';
import { IJobRef, ITrainJob, isFinal, latestAttempt } from '../api/types';
import { FollowedJob, JobStore } from '../store/jobs';
import { setText } from './dom';
import { LogFollower } from './follower';
import { NotebookOpener } from './notebook';
import { outputsList } from './outputs';
import { CardView } from './view';

const RETRY_OF = 'jupyter-trainjob/retry-of';

/** What a card needs from around it. */
export interface ICardContext {
  store: JobStore;
  opener: NotebookOpener;
  trans: TranslationBundle;
  /** Where copies of notebooks go. */
  folder: () => string;
}

/** One job, live. Follows only while it is on the page. Where `logIsBelow` somebody else shows the log. */
export class JobCard extends Widget {
  constructor(
    readonly ref: IJobRef,
    private _context: ICardContext,
    readonly logIsBelow = false
  ) {
    super();
    this._view = new CardView(ref.name, _context.trans);
    this.layout = this._cards;
    this._cards.addWidget(new Widget({ node: this._view.node }));
    const { cancel, retry, notebook, outputs, log } = this._view.buttons;
    cancel.onclick = () => this._act(cancel, () => this._cancel());
    retry.onclick = () => this._act(retry, () => this._retry());
    notebook.onclick = () => this._act(notebook, () => _context.opener.open(this.ref, _context.folder()));
    outputs.onclick = () => this._act(outputs, () => this._toggleOutputs());
    log.onclick = () => {
      this._view.logIsLong = !this._view.logIsLong;
      this._showLog();
    };
  }

  dispose(): void {
    this._unfollow();
    this._log?.dispose();
    super.dispose();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    const { store } = this._context;
    const { followed, handle } = store.follow(this.ref);
    this._followed = followed;
    this._handle = handle;
    followed.changed.connect(this._update, this);
    store.onlineChanged.connect(this._showAway, this);
    this._clock = setInterval(() => this._tick(), 1000);
    this._showAway();
    this._update();
    this._quietly(async () => {
      this._view.ownNamespace = await store.client.ownNamespace();
      this._update();
    });
  }

  protected onBeforeDetach(message: Message): void {
    this._unfollow();
    super.onBeforeDetach(message);
  }

  private _unfollow(): void {
    clearInterval(this._clock);
    this._log?.stop();
    this._followed?.changed.disconnect(this._update, this);
    this._context.store.onlineChanged.disconnect(this._showAway, this);
    this._handle?.dispose();
    this._handle = null;
    this._followed = null;
  }

  private _update(): void {
    const followed = this._followed;
    if (!followed) {
      return;
    }
    const trans = this._context.trans;
    if (followed.gone) {
      this._log?.stop();
      this._view.absent(trans.__('This job is gone, or it is not yours to see.'));
    } else if (followed.problem && !followed.job) {
      this._view.absent(trans.__('The server does not tell about this job: %1', followed.problem.message));
    } else if (followed.job) {
      this._view.update(followed.job, this._context.store.client.now());
      this._followLog(followed.job);
      if (isFinal(followed.job) && !this._askedForLater) {
        this._askedForLater = true;
        this._quietly(() => this._showLater());
      }
    }
  }

  private _tick(): void {
    const job = this._followed?.job;
    if (job && !isFinal(job)) {
      this._view.tick(job, this._context.store.client.now());
    }
  }

  private _showAway(): void {
    const { store, trans } = this._context;
    this._view.away(store.online ? '' : trans.__('Reconnecting…'));
  }

  private _followLog(job: ITrainJob): void {
    const attempt = latestAttempt(job);
    if (!attempt || this.logIsBelow) {
      return;
    }
    if (attempt.number !== this._attempt) {
      this._attempt = attempt.number;
      this._log?.dispose();
      this._log = new LogFollower((offset, limit) => this._context.store.client.log(this.ref, offset, limit));
      this._log.changed.connect(this._showLog, this);
    }
    this._log?.start();
    this._log?.poke();
  }

  private _showLog(): void {
    if (this._log) {
      this._view.log(this._log.tail.lines(), this._log.tail.isCut);
    }
  }

  private async _cancel(): Promise<void> {
    const { store, trans } = this._context;
    const answer = await showDialog({
      title: trans.__('Cancel %1?', this.ref.name),
      body: trans.__('What it has printed and saved so far is kept.'),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Let it run') }),
        Dialog.warnButton({ label: trans.__('Cancel the job') })
      ]
    });
    if (answer.button.accept) {
      store.accept(await store.client.cancel(this.ref));
    }
  }

  private async _retry(): Promise<void> {
    this._addBelow(await this._context.store.client.retry(this.ref));
  }

  /** Runs that were begun by "Run again", perhaps on another day. */
  private async _showLater(): Promise<void> {
    const jobs = await this._context.store.client.labelled(this.ref.namespace, `${RETRY_OF}=${this.ref.name}`);
    for (const job of jobs.reverse()) {
      this._addBelow(job);
    }
  }

  private _addBelow(job: ITrainJob): void {
    const { uid, namespace, name } = job.metadata;
    if (this._below.has(uid) || this.isDisposed) {
      return;
    }
    this._below.add(uid);
    setText(this._view.below, this._context.trans.__('Run again:'));
    const card = new JobCard({ uid, namespace, name }, this._context);
    this._cards.addWidget(card);
  }

  private async _toggleOutputs(): Promise<void> {
    const { store, trans } = this._context;
    const { outputs: button } = this._view.buttons;
    const list = this._view.outputs;
    const job = this._followed?.job;
    if (list.hidden && job) {
      const { client } = store;
      list.replaceChildren(
        outputsList(job.metadata, await client.outputs(this.ref), client, trans, await client.ownNamespace())
      );
    }
    list.hidden = !list.hidden;
    button.setAttribute('aria-expanded', String(!list.hidden));
  }

  /** Runs what a button is for, and says in the card what went wrong. */
  private _act(button: HTMLButtonElement, action: () => Promise<void>): void {
    button.setAttribute('aria-busy', 'true');
    setText(this._view.problem, '');
    void action()
      .catch((error: unknown) => setText(this._view.problem, told(error)))
      .finally(() => button.removeAttribute('aria-busy'));
  }

  /** For what nobody asked for: where it fails the card is as good without it. */
  private _quietly(action: () => Promise<void>): void {
    void action().catch((error: unknown) => console.warn('jupyter-trainjob:', told(error)));
  }

  /** This job's own elements, and below them the cards of later runs. */
  private _cards = new PanelLayout();
  private _view: CardView;
  private _followed: FollowedJob | null = null;
  private _handle: IDisposable | null = null;
  private _log: LogFollower | null = null;
  private _attempt = 0;
  private _askedForLater = false;
  private _below = new Set<string>();
  private _clock: ReturnType<typeof setInterval> | undefined;
}
