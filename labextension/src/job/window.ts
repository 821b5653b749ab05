import { ApiError } from '../api/client';
import { ILogChunk } from '../api/types';

/** What is asked for at a time. */
export const PIECE = 256 * 1024;
/** So much is kept around the place that is looked at, whatever the size of the log. */
const KEPT = 4 * PIECE;
/** A row shows at most so many bytes: what prints without line ends must stay readable. */
const LONGEST = 4096;

/** Bytes as they lie in the log. Between two pieces may be a gap, where the log was capped. */
interface IPiece {
  start: number;
  data: Uint8Array;
}

/** A row: bytes of one piece, or the note of a gap. */
export interface ILine {
  /** Where it begins in the log. */
  offset: number;
  /** Bytes that are left out here; 0 for a line of the log. */
  gap: number;
  bytes: Uint8Array;
}

export type Fetch = (offset: number, limit: number, wait?: number) => Promise<ILogChunk>;

/**
 * A part of a log of any size: what is around one place in it, by offset. Bytes stay bytes until a row is drawn.
 *
 * It never holds more than {@link KEPT} bytes; {@link jump} leaves what was there, {@link forward} and {@link back} move on.
 */
export class LogWindow {
  constructor(private _fetch: Fetch) {}

  size = 0;
  complete = false;

  /** Where what is here begins and ends in the log. */
  get start(): number {
    return this._pieces.length ? this._pieces[0].start : 0;
  }

  get end(): number {
    const last = this._pieces[this._pieces.length - 1];
    return last ? last.start + last.data.length : 0;
  }

  get atStart(): boolean {
    return this.start === 0 || this._first;
  }

  get atEnd(): boolean {
    return this.end >= this.size;
  }

  /** The rows of what is here. Made anew after each change. */
  get lines(): ILine[] {
    this._lines ??= linesOf(this._pieces, this.atStart);
    return this._lines;
  }

  /** Goes to where `offset` is in the middle, or to the end. */
  async jump(offset: number): Promise<void> {
    const run = ++this._run;
    const from = Math.max(0, Math.min(offset, this.size) - PIECE);
    const chunk = await this._read(from, PIECE);
    if (run === this._run) {
      this._pieces = [];
      this._add(chunk, from);
      if (this.end < Math.min(offset + PIECE, this.size)) {
        await this.forward();
      }
    }
  }

  async toEnd(): Promise<void> {
    if (!this.size) {
      const chunk = await this._read(0, 1);
      this.size = chunk.size;
    }
    await this.jump(this.size);
  }

  /** Reads on behind what is here. With `wait`, waits for so many seconds until there is more. True if there was. */
  async forward(wait = 0): Promise<boolean> {
    const run = this._run;
    const from = this.end;
    const chunk = await this._read(from, PIECE, wait);
    if (run !== this._run || chunk.data.length === 0 || from !== this.end) {
      return false;
    }
    this._add(chunk, from);
    while (this._held() > KEPT && this._pieces.length > 1) {
      this._pieces.shift();
      this._first = false;
    }
    return true;
  }

  /** Reads what is before; true if there was something. */
  async back(): Promise<boolean> {
    if (this.atStart) {
      return false;
    }
    const run = this._run;
    const start = this.start;
    const moved = () => run !== this._run || start !== this.start;
    let end = start;
    let from = Math.max(0, end - PIECE);
    let chunk = await this._read(from, end - from);
    if (!moved() && chunk.offset >= end && from > 0) {
      // all of it lies in a hole: go on before that
      end = await this._holeBegins(end, chunk);
      from = Math.max(0, end - PIECE);
      chunk = end > 0 ? await this._read(from, end - from) : chunk;
    }
    if (moved()) {
      return false;
    }
    const data = chunk.data.subarray(0, Math.max(0, end - chunk.offset));
    if (chunk.offset < end && data.length > 0) {
      this._pieces.unshift({ start: chunk.offset, data });
    } else if (from > 0) {
      return false;
    }
    this._first = from === 0;
    while (this._held() > KEPT && this._pieces.length > 1) {
      this._pieces.pop();
    }
    this._lines = null;
    return true;
  }

  /** Bytes that are here; a gap between them is none. */
  private _held(): number {
    return this._pieces.reduce((sum, piece) => sum + piece.data.length, 0);
  }

  /** Where the hole begins that ends at `end`, as the server says; where it says of another one, it is looked for. */
  private async _holeBegins(end: number, { gap }: ILogChunk): Promise<number> {
    if (gap && gap[0] < end && gap[1] >= end) {
      return gap[0];
    }
    const isThere = async (at: number) => (await this._read(at, 1)).offset <= at;
    let step = 2 * PIECE;
    while (step < end && !(await isThere(end - step))) {
      step *= 2;
    }
    let there = Math.max(-1, end - step);
    let gone = end - 1;
    while (gone - there > 1) {
      const middle = (there + gone) >> 1;
      if (await isThere(middle)) {
        there = middle;
      } else {
        gone = middle;
      }
    }
    return gone;
  }

  /** The row that holds the byte at `offset`, or the next one. */
  lineAt(offset: number): number {
    const lines = this.lines;
    let low = 0;
    let high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lines[middle].offset <= offset) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  /** All that is here, as text. */
  text(): string {
    const decoder = new TextDecoder();
    return this._pieces.map(piece => decoder.decode(piece.data, { stream: true })).join('');
  }

  private async _read(offset: number, limit: number, wait = 0): Promise<ILogChunk> {
    try {
      const chunk = await this._fetch(offset, limit, wait);
      this.size = Math.max(chunk.size, chunk.nextOffset);
      this.complete = chunk.complete;
      return chunk;
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) {
        return { data: new Uint8Array(), offset, nextOffset: offset, size: 0, complete: false }; // it has not begun
      }
      throw error;
    }
  }

  private _add(chunk: ILogChunk, from: number): void {
    if (chunk.data.length) {
      if (!this._pieces.length) {
        this._first = from === 0;
      }
      const last = this._pieces[this._pieces.length - 1];
      if (last && last.start + last.data.length === chunk.offset && last.data.length + chunk.data.length <= PIECE) {
        const joined = new Uint8Array(last.data.length + chunk.data.length);
        joined.set(last.data);
        joined.set(chunk.data, last.data.length);
        last.data = joined;
      } else {
        this._pieces.push({ start: chunk.offset, data: chunk.data });
      }
    }
    this._lines = null;
  }

  private _pieces: IPiece[] = [];
  /** What is here begins where the log does, even if that is behind a gap. */
  private _first = true;
  private _lines: ILine[] | null = null;
  private _run = 0;
}

const NEWLINE = 10;

/** Lines run on from piece to piece; where a gap lies between two, a row says so. */
function linesOf(pieces: IPiece[], whole: boolean): ILine[] {
  const lines: ILine[] = [];
  let rest: Uint8Array = new Uint8Array();
  let restAt = 0;
  let end = pieces.length ? pieces[0].start : 0;
  const flush = () => {
    if (rest.length) {
      push(lines, rest, restAt);
      rest = new Uint8Array();
    }
  };
  pieces.forEach((piece, number) => {
    if (piece.start > end || (number === 0 && whole && piece.start > 0)) {
      flush();
      const from = number === 0 ? 0 : end;
      lines.push({ offset: from, gap: piece.start - from, bytes: new Uint8Array() });
    }
    end = piece.start + piece.data.length;
    let data = piece.data;
    let at = piece.start;
    if (rest.length) {
      const joined = new Uint8Array(rest.length + data.length);
      joined.set(rest);
      joined.set(data, rest.length);
      data = joined;
      at = restAt;
      rest = new Uint8Array();
    }
    let from = 0;
    if (number === 0 && !whole) {
      from = data.indexOf(NEWLINE) + 1; // its beginning is not here
    }
    for (let to = data.indexOf(NEWLINE, from); to >= 0; to = data.indexOf(NEWLINE, from)) {
      push(lines, data.subarray(from, to), at + from);
      from = to + 1;
    }
    rest = data.subarray(from);
    restAt = at + from;
  });
  flush();
  return lines;
}

function push(lines: ILine[], bytes: Uint8Array, offset: number): void {
  if (bytes.length <= LONGEST) {
    lines.push({ offset, gap: 0, bytes });
    return;
  }
  for (let from = 0; from < bytes.length;) {
    let to = Math.min(bytes.length, from + LONGEST);
    while (to < bytes.length && to > from + 1 && (bytes[to] & 0xc0) === 0x80) {
      to -= 1; // not within a character
    }
    lines.push({ offset: offset + from, gap: 0, bytes: bytes.subarray(from, to) });
    from = to;
  }
}
