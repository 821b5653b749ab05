import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { FeedSocket, parseFeed } from '../api/client';
import { IChange } from '../api/types';

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** A first connection that takes longer is told as none: what is shown grows old meanwhile. */
const PATIENCE_MS = 3_000;

const BEAT_MS = 5_000;
/** A clock that stood still for longer was a machine that slept: pages in the background are called once a minute. */
const ASLEEP_MS = 90_000;

/** The HTTP status of a version that the feed no longer holds, and what the socket is closed with for it. */
const EXPIRED = 410;
const CLOSE_EXPIRED = 4410;

export interface IFeedSource {
  version(): Promise<number>;
  openFeed(since: number): FeedSocket;
}

/**
 * The changes of all jobs one may see, over a websocket that is opened again where it left off.
 *
 * `restarted` tells that what happened before is not in the changes: read anew what you follow.
 */
export class Feed implements IDisposable {
  /** Begins after version `since`; where that is left out, now. */
  constructor(
    private _source: IFeedSource,
    since: number | null = null
  ) {
    this._version = since;
    this._patience = setTimeout(() => this._setOpen(this._open), PATIENCE_MS);
    this._heart = setInterval(() => this._listen(), BEAT_MS);
    window.addEventListener('online', this._anew);
    window.addEventListener('offline', this._anew);
    void this._connect();
  }

  get changed(): ISignal<this, IChange[]> {
    return this._changed;
  }

  get restarted(): ISignal<this, void> {
    return this._restarted;
  }

  /** Whether it is open, at each change; also that it could not be opened at all. */
  get openChanged(): ISignal<this, boolean> {
    return this._openChanged;
  }

  get isOpen(): boolean {
    return this._open;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (this._disposed) {
      return;
    }
    this._disposed = true;
    clearTimeout(this._timer);
    clearTimeout(this._patience);
    clearInterval(this._heart);
    window.removeEventListener('online', this._anew);
    window.removeEventListener('offline', this._anew);
    Signal.clearData(this); // that it closes now is no news
    this._drop();
  }

  private async _connect(): Promise<void> {
    const turn = ++this._turn;
    let fresh = false;
    if (this._version === null) {
      fresh = true;
      let version: number | null = null;
      try {
        version = await this._source.version();
      } catch {
        // whoever follows a job asks for it too, and shows what is wrong
      }
      if (this._disposed || turn !== this._turn) {
        return;
      }
      if (version === null) {
        this._setOpen(false);
        this._again();
        return;
      }
      this._version = version;
    }
    if (this._disposed) {
      return;
    }
    const socket = this._source.openFeed(this._version);
    this._socket = socket;
    socket.onopen = () => {
      this._delay = FIRST_DELAY_MS;
      this._setOpen(true);
      if (fresh) {
        this._restarted.emit();
      }
    };
    socket.onmessage = event => this._receive(event.data);
    socket.onclose = event => {
      if (event.code === CLOSE_EXPIRED) {
        this._version = null;
      }
      this._drop();
      this._again();
    };
  }

  private _receive(data: unknown): void {
    const message = parseFeed(data);
    if ('code' in message) {
      if (message.code === EXPIRED) {
        this._version = null;
      }
      this._socket?.close();
      return;
    }
    this._version = message.version;
    this._changed.emit(message.changes.filter(change => change.object.kind === 'TrainJob'));
  }

  private _again(): void {
    if (this._disposed) {
      return;
    }
    const wait = this._delay * (0.5 + Math.random() / 2);
    this._delay = Math.min(LONGEST_DELAY_MS, this._delay * 2);
    this._timer = setTimeout(() => void this._connect(), wait);
  }

  private _listen(): void {
    const now = Date.now();
    const slept = now - this._beat > ASLEEP_MS;
    this._beat = now;
    if (slept) {
      this._anew();
    }
  }

  /**
   * A connection may have died without a word while the machine slept or changed its network: another is opened at once,
   * and until it stands nothing counts as live. A server on this machine answers without any network.
   */
  private _anew = (): void => {
    clearTimeout(this._timer);
    this._delay = FIRST_DELAY_MS;
    this._drop();
    void this._connect();
  };

  private _drop(): void {
    const socket = this._socket;
    this._socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this._setOpen(false);
  }

  private _setOpen(open: boolean): void {
    this._open = open;
    if (open !== this._told) {
      this._told = open;
      this._openChanged.emit(open);
    }
  }

  private _version: number | null = null;
  private _socket: FeedSocket | null = null;
  private _open = false;
  /** What {@link openChanged} said last; null before it said anything. */
  private _told: boolean | null = null;
  private _disposed = false;
  private _turn = 0;
  private _delay = FIRST_DELAY_MS;
  private _beat = Date.now();
  private _heart: ReturnType<typeof setInterval>;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _patience: ReturnType<typeof setTimeout> | undefined;
  private _changed = new Signal<this, IChange[]>(this);
  private _restarted = new Signal<this, void>(this);
  private _openChanged = new Signal<this, boolean>(this);
}
