import { ApiError, TrainJobClient } from '../api/client';
import { ITrainJob, refOf } from '../api/types';
import { ISpark, sparkOf } from './spark';

const EVERY_MS = 5_000;
const POINTS = 40;
/** Rows beyond so many get no picture: nobody reads more at once. */
const MOST = 12;

/** The courses of the running jobs that are on screen. Asks only while somebody looks. */
export class Sparks {
  constructor(
    private _client: TrainJobClient,
    private _visible: () => ITrainJob[],
    private _drawn: () => void
  ) {}

  get(uid: string): ISpark | undefined {
    return this._known.get(uid);
  }

  start(): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this._step(), 0);
  }

  stop(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
  }

  private async _step(): Promise<void> {
    const run = this._timer;
    const jobs = document.hidden ? [] : this._visible().slice(0, MOST);
    const uids = new Set(jobs.map(job => job.metadata.uid));
    for (const uid of this._known.keys()) {
      if (!uids.has(uid)) {
        this._known.delete(uid);
      }
    }
    for (const job of jobs) {
      await this._read(job);
    }
    if (jobs.length) {
      this._drawn();
    }
    if (this._timer === run && run !== undefined) {
      this._timer = setTimeout(() => void this._step(), EVERY_MS);
    }
  }

  private async _read(job: ITrainJob): Promise<void> {
    try {
      const spark = sparkOf(await this._client.series(refOf(job), POINTS));
      if (spark) {
        this._known.set(job.metadata.uid, spark);
      }
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error; // else: no metrics, or the server is away, which is shown already
      }
    }
  }

  private _known = new Map<string, ISpark>();
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
