import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { ApiError, TrainJobClient } from '../api/client';
import { IChange, IJobRef, isFinal, ITrainJob } from '../api/types';
import { Feed } from './feed';

/** How often what is followed is read, as a safety net: the feed is what makes it live. */
const SLOW_MS = 30_000;
/** A queued job's position moves with jobs that one may not see, so the feed does not tell. */
const QUEUED_MS = 8_000;
const WITHOUT_FEED_MS = 4_000;
/** Requests at a time. */
const AT_ONCE = 4;

/** What is known of a job that somebody follows. */
export class FollowedJob {
  constructor(readonly ref: IJobRef) {}

  /** Null until the first answer, and where the job is gone. */
  job: ITrainJob | null = null;
  /** There is no such job, or one may not see it. */
  gone = false;
  /** An answer that is neither the job nor its absence. */
  problem: ApiError | null = null;

  get settled(): boolean {
    return this.gone || (this.job !== null && isFinal(this.job));
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Takes a newer state; `read` tells that it came by GET and so knows the position. */
  accept(job: ITrainJob, read: boolean): void {
    const old = this.job;
    if (old) {
      const age = Number(job.metadata.resourceVersion) - Number(old.metadata.resourceVersion);
      if (age < 0 || (age === 0 && !read)) {
        return;
      }
      if (!read && job.status.phase === 'Queued' && old.status.phase === 'Queued') {
        const { position, waitingFor, estimatedStart } = old.status;
        job = { ...job, status: { position, waitingFor, estimatedStart, ...job.status } };
      }
    }
    this.job = job;
    this.gone = false;
    this.problem = null;
    this._changed.emit();
  }

  lose(): void {
    this.job = null;
    this.gone = true;
    this.problem = null;
    this._changed.emit();
  }

  fail(problem: ApiError): void {
    this.problem = problem;
    this._changed.emit();
  }

  private _changed = new Signal<this, void>(this);
}

/** One store for all that shows jobs: whoever asks for the same job gets the same, live, object. */
export class JobStore implements IDisposable {
  constructor(readonly client: TrainJobClient) {
    this._poll = new Poll({
      name: 'jupyter-trainjob:jobs',
      auto: false,
      factory: () => this._refresh(),
      frequency: { interval: SLOW_MS, backoff: false },
      standby: () => (this._idle ? true : 'when-hidden')
    });
  }

  /** Whether the server answers: false after a request that got no answer, until one does. */
  get online(): boolean {
    return this._online;
  }

  get onlineChanged(): ISignal<this, boolean> {
    return this._onlineChanged;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /** Every state of a job that the server tells, whether or not a card follows it. */
  get seen(): ISignal<this, ITrainJob> {
    return this._seen;
  }

  /** All that one message of the feed tells, deletions too. */
  get batch(): ISignal<this, IChange[]> {
    return this._batch;
  }

  /**
   * Whether what happens is told as it happens. While it is not, what is shown may be out of date.
   * A feed that is opened for the first time counts as live: what is shown was read a moment ago.
   */
  get live(): boolean {
    return this._feed === null || !this._cut;
  }

  get liveChanged(): ISignal<this, boolean> {
    return this._liveChanged;
  }

  /** Emitted when what is followed is read again: true where the feed has left something out, false every now and then. */
  get reread(): ISignal<this, boolean> {
    return this._reread;
  }

  /**
   * Keeps the feed connected until disposed, for one who listens to {@link seen} and follows no job. `since` is the
   * version of what the listener has read: a feed that was already open has told what came later, a new one begins there.
   */
  listen(since: number | null = null): IDisposable {
    this._listeners += 1;
    this._start(since);
    return new DisposableDelegate(() => {
      this._listeners -= 1;
      this._stopIfIdle();
    });
  }

  /** The job, kept up to date until the returned handle is disposed. */
  follow(ref: IJobRef): { followed: FollowedJob; handle: IDisposable } {
    let entry = this._followed.get(ref.uid);
    if (!entry) {
      entry = { followed: new FollowedJob(ref), count: 0 };
      this._followed.set(ref.uid, entry);
      void this._read(entry.followed);
    }
    const kept = entry;
    kept.count += 1;
    this._start();
    const handle = new DisposableDelegate(() => {
      kept.count -= 1;
      if (kept.count === 0) {
        this._followed.delete(ref.uid);
        this._stopIfIdle();
      }
    });
    return { followed: kept.followed, handle };
  }

  /** Reads a job again, now. */
  async refresh(ref: IJobRef): Promise<void> {
    const entry = this._followed.get(ref.uid);
    if (entry) {
      await this._read(entry.followed);
    }
  }

  /** Takes the answer to a verb as the job's newest state. */
  accept(job: ITrainJob): void {
    this._followed.get(job.metadata.uid)?.followed.accept(job, true);
    this._seen.emit(job);
  }

  dispose(): void {
    this._followed.clear();
    this._listeners = 0;
    this._stop();
    this._poll.dispose();
    Signal.clearData(this);
  }

  /** Whether nobody wants to know anything: then there is no connection and no request. */
  private get _idle(): boolean {
    return this._followed.size === 0 && this._listeners === 0;
  }

  private _stopIfIdle(): void {
    if (this._idle) {
      this._stop();
    }
  }

  private _start(since: number | null = null): void {
    if (this._feed) {
      return;
    }
    this._feed = new Feed(this.client, since);
    this._feed.changed.connect((_, changes) => this._take(changes));
    this._feed.restarted.connect(() => void this._refresh(true));
    this._feed.openChanged.connect((_, open) => {
      if (open) {
        this._setOnline(true);
      }
      this._setCut(!open);
      this._pace();
      void this._poll.refresh(); // tells at once whether it is only the socket that is gone, or the server
    });
    this._pace();
    void this._poll.start();
  }

  private _stop(): void {
    this._feed?.dispose();
    this._feed = null;
    this._setCut(false);
    if (!this._poll.isDisposed) {
      void this._poll.stop();
    }
  }

  private _take(changes: IChange[]): void {
    this._batch.emit(changes);
    for (const { type, object } of changes) {
      const followed = this._followed.get(object.metadata.uid)?.followed;
      if (type === 'DELETED') {
        followed?.lose();
      } else {
        followed?.accept(object, false);
        this._seen.emit(object);
      }
    }
    this._pace();
  }

  /** Reads all that can still change. */
  private async _refresh(missed = false): Promise<void> {
    this._reread.emit(missed);
    const due = [...this._followed.values()].map(entry => entry.followed).filter(followed => !followed.settled);
    const worker = async () => {
      for (let next = due.shift(); next; next = due.shift()) {
        await this._read(next);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    this._pace();
  }

  private async _read(followed: FollowedJob): Promise<void> {
    try {
      const job = await this.client.get(followed.ref);
      this._setOnline(true);
      followed.accept(job, true);
      this._seen.emit(job);
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      this._setOnline(!error.passing);
      if (error.code === 404) {
        followed.lose();
      } else if (!error.passing) {
        followed.fail(error);
      }
    }
  }

  private _pace(): void {
    let interval = SLOW_MS;
    for (const { followed } of this._followed.values()) {
      if (followed.job?.status.phase === 'Queued' || (!followed.job && !followed.gone)) {
        interval = QUEUED_MS;
      }
    }
    if (!this._feed?.isOpen) {
      interval = WITHOUT_FEED_MS;
    }
    const before = this._poll.frequency.interval;
    if (before !== interval) {
      this._poll.frequency = { interval, max: interval, backoff: false };
      if (interval < before) {
        void this._poll.refresh(); // else the next tick is still the old, longer interval away
      }
    }
  }

  private _setCut(cut: boolean): void {
    if (cut !== this._cut) {
      this._cut = cut;
      this._liveChanged.emit(!cut);
    }
  }

  private _setOnline(online: boolean): void {
    if (online !== this._online) {
      this._online = online;
      this._onlineChanged.emit(online);
    }
  }

  private _followed = new Map<string, { followed: FollowedJob; count: number }>();
  private _feed: Feed | null = null;
  private _poll: Poll;
  private _online = true;
  private _onlineChanged = new Signal<this, boolean>(this);
  private _cut = false;
  private _liveChanged = new Signal<this, boolean>(this);
  private _batch = new Signal<this, IChange[]>(this);
  private _seen = new Signal<this, ITrainJob>(this);
  private _reread = new Signal<this, boolean>(this);
  private _listeners = 0;
}
