import { Fetch } from './window';

const PIECE = 1024 * 1024;
const AT_ONCE = 6;
/** More are counted, and not gone to one by one. */
const MOST = 10_000;

/**
 * Looks for a text in a log, from `from` on and round to there, and tells each piece's hits as they are found.
 *
 * Bytes are compared, as one character each: that is quick, and positions are offsets. Capitals count only where the text has some,
 * of A to Z alone: other bytes are parts of characters, and a browser's "latin1" has capitals among them.
 */
export class LogSearch {
  constructor(
    private _fetch: Fetch,
    readonly text: string,
    private _found: () => void
  ) {
    const bytes = new TextEncoder().encode(text);
    this._exact = /[A-Z]/.test(text);
    this._needle = this._fold(new TextDecoder('latin1').decode(bytes));
    this.length = bytes.length;
  }

  /** Bytes of a hit. */
  readonly length: number;
  /** Offsets, in the order of the log. */
  readonly hits: number[] = [];
  count = 0;
  done = false;

  /** Whether it was ended before it had looked at all. */
  get stopped(): boolean {
    return this._stopped && !this.done;
  }

  stop(): void {
    this._stopped = true;
  }

  /** Reads `[0, size)`, first what lies behind `from`. */
  async run(from: number, size: number): Promise<void> {
    const begin = Math.floor(Math.min(from, Math.max(0, size - 1)) / PIECE) * PIECE;
    await this._part(begin, size);
    await this._part(0, begin);
    if (!this._stopped) {
      this.done = true;
      this._found();
    }
  }

  /** The hit at or behind an offset, or the one before it; round at the ends. -1 where there is none. */
  next(offset: number, back = false): number {
    const { hits } = this;
    if (!hits.length) {
      return -1;
    }
    const behind = hits.findIndex(hit => (back ? hit >= offset : hit > offset));
    if (back) {
      return hits[behind < 0 ? hits.length - 1 : (behind + hits.length - 1) % hits.length];
    }
    return hits[behind < 0 ? 0 : behind];
  }

  private async _part(from: number, to: number): Promise<void> {
    const asked: ReturnType<Fetch>[] = [];
    let at = from;
    const ask = () => {
      if (at < to && !this._stopped) {
        const piece = this._fetch(at, Math.min(PIECE, to - at));
        piece.catch(() => undefined); // told where it is awaited
        asked.push(piece);
        at += PIECE;
      }
    };
    for (let number = 0; number < AT_ONCE; number++) {
      ask();
    }
    let before = '';
    let end = from;
    for (let next = asked.shift(); next && !this._stopped; next = asked.shift()) {
      const chunk = await next;
      ask();
      const text = this._fold(this._decoder.decode(chunk.data));
      const joined = chunk.offset === end ? before + text : text;
      this._look(joined, chunk.offset + text.length - joined.length);
      before = joined.slice(Math.max(0, joined.length - this._needle.length + 1));
      end = chunk.nextOffset;
    }
  }

  private _look(text: string, start: number): void {
    const before = this.count;
    const found: number[] = [];
    for (let at = text.indexOf(this._needle); at >= 0; at = text.indexOf(this._needle, at + this._needle.length)) {
      this.count += 1;
      if (this.hits.length + found.length < MOST) {
        found.push(start + at);
      }
    }
    if (found.length) {
      const ordered = !this.hits.length || found[0] > this.hits[this.hits.length - 1];
      this.hits.push(...found);
      if (!ordered) {
        this.hits.sort((a, b) => a - b); // what lies before the place where it began comes last
      }
    }
    if (this.count > before) {
      this._found();
    }
  }

  private _fold(text: string): string {
    return this._exact ? text : text.replace(/[A-Z]+/g, letters => letters.toLowerCase());
  }

  private _needle: string;
  private _exact: boolean;
  private _decoder = new TextDecoder('latin1');
  private _stopped = false;
}
