import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { ApiError, IJobQuery } from '../api/client';
import { IChange, IPage, isFinal, ITrainJob, refOf } from '../api/types';
import { JobStore } from './jobs';
import { slim } from './slim';

/** The first page is on screen before the next is asked for. */
const FIRST_PAGE = 100;
const PAGE = 500;
/** Beyond this, older jobs are left to the filter: a browser should not hold all that ever ran. */
const MOST = 20_000;
/** Places in a line move with jobs that one may not see, so the feed does not tell. */
const PLACES_MS = 8_000;
const PLACES = 200;
/** Where the server does not answer it is asked again so soon. */
const AGAIN_MS = 4_000;

/** Where it has answered that it can't, or that it is too much, unless it says when. */
const REFUSED_MS = 10_000;
/** While the feed tells all, that it told all is looked after so often; of very many unfinished jobs it is not. */
const LOOK_AGAIN_MS = 25_000;
/** Of more jobs than these that ended unseen, the list is read anew instead of each. */
const MISSED_AT_ONCE = 20;

const UNFINISHED = ['Queued', 'Admitted', 'Running'];

/** Whose jobs: one's own, or all that one may see. */
export type Whose = 'mine' | 'all';

/**
 * The jobs of one person, or all that one may see, kept up to date: what has not ended at once, the rest when somebody looks.
 *
 * What it holds is newest first in {@link jobs}, without what the front end never reads of a job. It follows the
 * feed from the version of its first answer on, so that nothing falls between the two.
 */
export class JobList implements IDisposable {
  constructor(private _store: JobStore) {
    _store.batch.connect(this._take, this);
    _store.seen.connect(this._see, this);
    _store.reread.connect(this._reread, this);
  }

  /** By uid. */
  readonly jobs = new Map<string, ITrainJob>();

  /** Emitted at most once a frame, whatever comes in between. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Why there is nothing to show; null while the server answers. */
  get problem(): ApiError | null {
    return this._problem;
  }

  /** Whether the first answer is there. */
  get ready(): boolean {
    return this._ready;
  }

  /** Whether older jobs are still being read. */
  get loading(): boolean {
    return this._loading;
  }

  /** Whether there are older jobs that were not read. */
  get cut(): boolean {
    return this._isCut;
  }

  get whose(): Whose {
    return this._whose;
  }

  get username(): string {
    return this._username;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  /** Begins with what has not ended, for those who only count; with `all`, goes on to what has. */
  async begin(all = false): Promise<void> {
    this._all ||= all;
    if (!this._ready) {
      await this._load();
    } else if (all && !this._loadedAll) {
      await this._loadAll();
    }
  }

  /** Changes whose jobs these are, and reads anew. */
  async show(whose: Whose): Promise<void> {
    if (whose !== this._whose) {
      this._whose = whose;
      this.jobs.clear();
      this._ready = false;
      this._loadedAll = false;
      this._emit();
      await this._load();
    }
  }

  /** Somebody looks at waiting jobs: their places in the line are read now and then until this is called with false. */
  watchPlaces(watch: boolean): void {
    clearInterval(this._places);
    if (watch) {
      this._places = setInterval(() => void this._readPlaces(), PLACES_MS);
      void this._readPlaces();
    }
  }

  dispose(): void {
    if (this._disposed) {
      return;
    }
    this._disposed = true;
    clearInterval(this._places);
    clearTimeout(this._again);
    this._listening?.dispose();
    Signal.clearData(this);
  }

  private async _load(): Promise<void> {
    const run = ++this._run;
    try {
      this._username ||= await this._store.client.username();
      if (!(await this._readUnfinished(run))) {
        return;
      }
      this._ready = true;
      this._emit();
      if (this._all) {
        await this._loadAll();
      }
    } catch (error) {
      this._fail(run, error, () => void this._load());
    }
  }

  /** What has not ended; of what was held as such and no longer is, the end. False where a later reading has begun meanwhile. */
  private async _readUnfinished(run: number): Promise<boolean> {
    const query = { phase: UNFINISHED, limit: PAGE };
    const cut = this._loadedAll && this._isCut;
    const before = new Set([...this.jobs.values()].filter(job => !isFinal(job)).map(job => job.metadata.uid));
    const page = await this._page(run, query, before);
    if (!page) {
      return false;
    }
    this._listening ??= this._store.listen(Number(page.metadata.resourceVersion));
    if (!(await this._rest(run, page, query, before))) {
      return false;
    }
    this._isCut ||= cut;
    this._readAt = Date.now();
    const missed = [...before].flatMap(uid => this.jobs.get(uid) ?? []).filter(job => !isFinal(job));
    if (missed.length > MISSED_AT_ONCE) {
      missed.forEach(job => this.jobs.delete(job.metadata.uid)); // those who show what has ended read it all anew
      this._loadedAll = false;
    } else {
      for (const job of missed) {
        await this._readEnd(job);
      }
    }
    return run === this._run;
  }

  private async _readEnd(job: ITrainJob): Promise<void> {
    try {
      this._accept(await this._store.client.get(refOf(job)), true);
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryable) {
        throw error;
      }
      this.jobs.delete(job.metadata.uid); // deleted, or no longer ours to see
    }
  }

  /** What is shown may be out of date: what can change is read, and what is newest. */
  private async _catchUp(): Promise<void> {
    if (!this._ready || this._loading || this._catching || document.hidden) {
      return;
    }
    const run = ++this._run;
    this._catching = true;
    try {
      if (!(await this._readUnfinished(run))) {
        return;
      }
      if (this._all && !this._loadedAll) {
        await this._loadAll();
      } else if (this._all) {
        await this._page(run, { limit: FIRST_PAGE }); // what has come and ended meanwhile
      }
      this._emit();
    } catch (error) {
      this._fail(run, error, () => void this._catchUp());
    } finally {
      this._catching = false;
    }
  }

  /** All there is, newest first; what was shown before and is no longer there goes. */
  private async _loadAll(): Promise<void> {
    const run = ++this._run;
    const before = new Set(this.jobs.keys());
    this._loading = true;
    this._emit();
    try {
      const page = await this._page(run, { limit: FIRST_PAGE }, before);
      this._emit();
      if (page && (await this._rest(run, page, { limit: PAGE }, before))) {
        before.forEach(uid => this.jobs.delete(uid));
        this._loadedAll = true;
      }
      if (run === this._run) {
        this._loading = false;
        this._lost.clear();
        this._emit();
      }
    } catch (error) {
      this._loading = false;
      this._fail(run, error, () => void this._loadAll());
    }
  }

  /** One page; null where a later reading has begun meanwhile. */
  private async _page(run: number, query: IJobQuery, before?: Set<string>): Promise<IPage<ITrainJob> | null> {
    const owner = this._whose === 'mine' ? { owner: this._username } : {};
    const page = await this._store.client.list({ ...owner, ...query });
    if (run !== this._run || this._disposed) {
      return null;
    }
    this._problem = null;
    for (const job of page.items) {
      before?.delete(job.metadata.uid);
      if (!this._lost.has(job.metadata.uid)) {
        this._accept(job, true);
      }
    }
    return page;
  }

  /** The pages that follow; false where a later reading has begun meanwhile. */
  private async _rest(run: number, first: IPage<ITrainJob>, query: IJobQuery, before?: Set<string>): Promise<boolean> {
    let next = first.metadata.continue;
    this._isCut = false;
    while (next) {
      if (this.jobs.size >= MOST) {
        this._isCut = true;
        before?.clear();
        return true;
      }
      const page = await this._page(run, { ...query, continue: next }, before);
      if (!page) {
        return false;
      }
      this._emit();
      next = page.metadata.continue;
      await new Promise(resolve => setTimeout(resolve)); // the page's own work comes first
    }
    return true;
  }

  private _fail(run: number, error: unknown, again: () => void): void {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    if (run === this._run && !this._disposed) {
      this._problem = error;
      this._emit();
      clearTimeout(this._again);
      if (error.retryable) {
        const wait = Math.max(error.retryAfterSeconds * 1000, error.passing ? AGAIN_MS : REFUSED_MS);
        this._again = setTimeout(again, wait);
      }
    }
  }

  /** The feed left something out, or is cut, or might be without our knowing: then what is shown is read again. */
  private _reread(_: JobStore, missed: boolean): void {
    if (!this._listening) {
      return;
    }
    if (missed) {
      void (this._loadedAll || this._loading ? this._loadAll() : this._load());
    } else if (!this._store.live || (Date.now() - this._readAt >= LOOK_AGAIN_MS && this.jobs.size <= PAGE)) {
      void this._catchUp();
    }
  }

  private async _readPlaces(): Promise<void> {
    const waits = [...this.jobs.values()].some(job => job.status.phase === 'Queued');
    if (!this._ready || !waits || document.hidden) {
      return;
    }
    const owner = this._whose === 'mine' ? { owner: this._username } : {};
    try {
      const page = await this._store.client.list({ ...owner, phase: ['Queued'], limit: PLACES });
      page.items.forEach(job => this._accept(job, true));
      this._emit();
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error; // else the store shows that the server is away, and asks on
      }
    }
  }

  private _take(_: JobStore, changes: IChange[]): void {
    let changed = false;
    for (const { type, object } of changes) {
      if (type === 'DELETED') {
        changed = this.jobs.delete(object.metadata.uid) || changed;
        if (this._loading || !this._ready) {
          this._lost.add(object.metadata.uid);
        }
      } else if (this._whose === 'all' || object.metadata.owner === this._username) {
        changed = this._accept(object, false) || changed;
      }
    }
    if (changed) {
      this._emit();
    }
  }

  /** The answer to a verb, or what a card has read. */
  private _see(_: JobStore, job: ITrainJob): void {
    const ours = this._ready && (this._whose === 'all' || job.metadata.owner === this._username);
    if (ours && this._accept(job, false)) {
      this._emit();
    }
  }

  private _accept(job: ITrainJob, read: boolean): boolean {
    const { uid, resourceVersion } = job.metadata;
    const old = this.jobs.get(uid);
    const age = old ? Number(resourceVersion) - Number(old.metadata.resourceVersion) : 1;
    if (age < 0 || (age === 0 && !read)) {
      return false;
    }
    const kept = slim(job);
    if (old && !read && old.status.phase === 'Queued' && job.status.phase === 'Queued') {
      const { position, waitingFor, estimatedStart } = old.status;
      Object.assign(kept.status, { position, waitingFor, estimatedStart });
    }
    this.jobs.set(uid, kept);
    return true;
  }

  private _emit(): void {
    if (this._frame || this._disposed) {
      return;
    }
    this._frame = true;
    // a page that is not shown has no frames, and a count in its title must be true all the same
    const soon = document.hidden ? (then: () => void) => setTimeout(then, 250) : requestAnimationFrame;
    soon(() => {
      this._frame = false;
      if (!this._disposed) {
        this._changed.emit();
      }
    });
  }

  private _whose: Whose = 'mine';
  private _username = '';
  private _all = false;
  private _ready = false;
  private _loading = false;
  private _loadedAll = false;
  private _catching = false;
  private _isCut = false;
  private _problem: ApiError | null = null;
  private _run = 0;
  /** When what has not ended was read last. */
  private _readAt = 0;
  /** Deleted while pages were on their way: such a page is no longer true. */
  private _lost = new Set<string>();
  private _listening: IDisposable | null = null;
  private _places: ReturnType<typeof setInterval> | undefined;
  private _again: ReturnType<typeof setTimeout> | undefined;
  private _frame = false;
  private _disposed = false;
  private _changed = new Signal<this, void>(this);
}
