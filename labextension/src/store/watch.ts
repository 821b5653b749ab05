import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { ApiError } from '../api/client';
import { IJobRef, isFinal, ITrainJob, refOf } from '../api/types';
import { JobStore } from './jobs';

/** The feed tells of an end at once; that it told all is looked after at most so often. */
const LOOK_AGAIN_MS = 30_000;

/** Where the jobs that are waited for outlive the page. */
export interface IWatchMemory {
  load(): Promise<IJobRef[]>;
  save(refs: IJobRef[]): Promise<void>;
}

/**
 * Tells the ends of the viewer's own jobs that were sent with `--notify`, with or without a card on the page.
 *
 * It begins with one list of what has not ended. Where nothing in it wants to be told, there is no connection: a job that
 * is sent later is seen by the card below its cell, or by a feed that is open anyway. From then on this keeps the
 * feed open until the job has ended, whatever becomes of the card and the notebook.
 *
 * What is waited for is remembered, so that an end that came while no page was open is told by the next page; once
 * told it is forgotten. Two pages tell it twice, once each: nobody knows which of them is looked at.
 */
export class EndWatch implements IDisposable {
  constructor(
    private _store: JobStore,
    private _memory: IWatchMemory,
    /** Whose end is to be told. */
    private _wants: (job: ITrainJob) => boolean = job => !!job.spec.notify
  ) {
    _store.seen.connect(this._see, this);
    _store.reread.connect(this._reread, this);
    void this._begin();
  }

  /** A job of one's own that wanted it has ended, as the server tells it. */
  get ended(): ISignal<this, ITrainJob> {
    return this._ended;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (!this._disposed) {
      this._disposed = true;
      this._watched.clear();
      this._listenWhileNeeded();
      Signal.clearData(this);
    }
  }

  private async _begin(): Promise<void> {
    for (const ref of await this._memory.load()) {
      if (!this._told.has(ref.uid)) {
        this._watched.set(ref.uid, ref);
      }
    }
    this._listenWhileNeeded();
    await this._look();
  }

  private _reread(_: JobStore, missed: boolean): void {
    if (this._watched.size > 0 && (missed || Date.now() - this._lookedAt >= LOOK_AGAIN_MS)) {
      void this._look();
    }
  }

  /** What has begun without us, and what has ended without us. */
  private async _look(): Promise<void> {
    this._lookedAt = Date.now();
    try {
      const before = [...this._watched.values()];
      const unfinished = await this._store.client.unfinished(await this._me());
      const still = new Set(unfinished.map(job => job.metadata.uid));
      unfinished.forEach(job => this._take(job));
      for (const ref of before.filter(ref => !still.has(ref.uid))) {
        await this._read(ref);
      }
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      // No answer now: where something is waited for, the store goes on asking and says when to look again. Where
      // the server has no such service, or not for this user, there is nothing to tell.
    }
  }

  private async _read(ref: IJobRef): Promise<void> {
    try {
      this._take(await this._store.client.get(ref));
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryable) {
        throw error;
      }
      this._forget(ref.uid); // deleted, or no longer ours to see: there is no end to tell
    }
  }

  private _see(_: JobStore, job: ITrainJob): void {
    // of the many that only pass by, nothing is asked
    if (this._watched.has(job.metadata.uid) || (!isFinal(job) && this._wants(job))) {
      this._me().then(
        () => this._take(job),
        () => undefined // no answer: it is seen again
      );
    }
  }

  private _take(job: ITrainJob): void {
    const { uid, owner } = job.metadata;
    if (this._disposed || this._told.has(uid)) {
      return;
    }
    if (!this._wants(job) || owner !== this._username) {
      this._forget(uid); // remembered by somebody else who used this server
    } else if (!isFinal(job)) {
      if (!this._watched.has(uid)) {
        this._watched.set(uid, refOf(job));
        this._remember();
      }
    } else if (this._watched.has(uid)) {
      this._told.add(uid);
      this._forget(uid);
      this._ended.emit(job);
    }
  }

  private _forget(uid: string): void {
    if (this._watched.delete(uid)) {
      this._remember();
    }
  }

  private _remember(): void {
    void this._memory.save([...this._watched.values()]);
    this._listenWhileNeeded();
  }

  private _listenWhileNeeded(): void {
    if (this._watched.size > 0) {
      this._listening ??= this._store.listen();
    } else {
      this._listening?.dispose();
      this._listening = null;
    }
  }

  /** Asked once; again after a failure. */
  private _me(): Promise<string> {
    this._asked ??= this._store.client.username().then(
      username => (this._username = username),
      (error: unknown) => {
        this._asked = null;
        throw error;
      }
    );
    return this._asked;
  }

  private _watched = new Map<string, IJobRef>();
  /** Of this page: a state that comes late must not begin it anew. */
  private _told = new Set<string>();
  private _lookedAt = 0;
  private _username: string | null = null;
  private _asked: Promise<string> | null = null;
  private _listening: IDisposable | null = null;
  private _disposed = false;
  private _ended = new Signal<this, ITrainJob>(this);
}
