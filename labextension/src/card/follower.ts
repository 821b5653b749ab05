import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { ApiError } from '../api/client';
import { ILogChunk } from '../api/types';
import { LogTail } from './tail';

const BUSY_MS = 700;
const IDLE_MS = 3_000;
/** At most so much is asked for at a time, kept and shown; of a log that is longer, the end. */
const TAIL_BYTES = 256 * 1024;

/**
 * Reads a log's end and what comes after, while started. Short requests by offset: a browser has six connections to
 * a server, and a notebook may show more cards than that.
 */
export class LogFollower implements IDisposable {
  constructor(private _fetch: (offset: number, limit: number) => Promise<ILogChunk>) {}

  readonly tail = new LogTail(TAIL_BYTES);

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  /** Follows from now on; again after {@link stop} goes on where it was. */
  start(): void {
    if (!this._running && !this._complete && !this._disposed) {
      this._running = true;
      this._delay = BUSY_MS;
      void this._step();
    }
  }

  stop(): void {
    this._running = false;
    clearTimeout(this._timer);
  }

  /** Looks now: something was told about the job. */
  poke(): void {
    if (this._running && !this._busy) {
      clearTimeout(this._timer);
      void this._step();
    }
  }

  dispose(): void {
    this._disposed = true;
    this.stop();
    Signal.clearData(this);
  }

  private async _step(): Promise<void> {
    this._busy = true;
    let again = 0;
    try {
      const chunk = await this._read();
      if (chunk.complete && chunk.nextOffset >= chunk.size) {
        this._complete = true;
        this._running = false;
      } else if (chunk.nextOffset < chunk.size) {
        again = 1;
      }
      this._delay = chunk.data.length > 0 ? BUSY_MS : Math.min(IDLE_MS, this._delay * 1.25);
      if (chunk.data.length > 0 && !this._disposed) {
        this._changed.emit();
      }
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      this._delay = IDLE_MS; // the store shows that the server is away; no log yet is a 404
    } finally {
      this._busy = false;
    }
    if (this._running) {
      this._timer = setTimeout(() => void this._step(), again || this._delay);
    }
  }

  private async _read(): Promise<ILogChunk> {
    let chunk = await this._fetch(this._offset, TAIL_BYTES);
    if (chunk.size - chunk.nextOffset > TAIL_BYTES) {
      this.tail.skip(); // far behind: only the end is shown
      this._offset = chunk.size - TAIL_BYTES;
      chunk = await this._fetch(this._offset, TAIL_BYTES);
    } else if (chunk.offset > this._offset) {
      this.tail.skip(); // a gap
    }
    this._offset = chunk.nextOffset;
    this.tail.push(chunk.data);
    return chunk;
  }

  private _offset = 0;
  private _complete = false;
  private _running = false;
  private _busy = false;
  private _disposed = false;
  private _delay = BUSY_MS;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _changed = new Signal<this, void>(this);
}
