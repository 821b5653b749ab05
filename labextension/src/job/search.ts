import { ILogQuery } from '../api/client';
import { ILogHits } from '../api/types';

/** More are counted, and not gone to one by one. */
const MOST = 10_000;
/** No longer text is looked for. */
export const LONGEST_TEXT = 1000;

export type Search = (query: ILogQuery) => Promise<ILogHits>;

/**
 * Looks for a text in a log, from `from` on and round to there, and tells each answer's hits as they come.
 *
 * The server looks: to bring a long log here takes longer than to read it there. Capitals count only where the text has some.
 */
export class LogSearch {
  constructor(
    private _search: Search,
    readonly text: string,
    private _found: () => void
  ) {
    this._ignoreCase = !/[A-Z]/.test(text);
    this._length = new TextEncoder().encode(text).length;
  }

  /** Offsets, in the order of the log. */
  readonly hits: number[] = [];
  count = 0;
  done = false;

  /** Whether it was ended before all had been looked at. */
  get stopped(): boolean {
    return this._stopped && !this.done;
  }

  stop(): void {
    this._stopped = true;
  }

  /** Looks at all there is, first at what lies behind `from`. */
  async run(from: number): Promise<void> {
    await this._part(from);
    if (from > 0) {
      await this._part(0, from + this._length - 1); // also at what begins before and ends behind
    }
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

  private async _part(from: number, end?: number): Promise<void> {
    const { text, _ignoreCase: ignoreCase } = this;
    for (let next: number | null = from; next !== null && !this._stopped;) {
      const found: ILogHits = await this._search({
        text,
        ignoreCase,
        offset: next,
        end,
        limit: MOST - this.hits.length
      });
      if (this._stopped) {
        return;
      }
      next = found.nextOffset;
      this._take(found);
    }
  }

  private _take({ offsets, count }: ILogHits): void {
    this.count += count;
    if (offsets.length) {
      const ordered = !this.hits.length || offsets[0] > this.hits[this.hits.length - 1];
      this.hits.push(...offsets);
      if (!ordered) {
        this.hits.sort((a, b) => a - b); // what lies before the place where it began comes last
      }
    }
    if (count) {
      this._found();
    }
  }

  private _ignoreCase: boolean;
  private _length: number;
  private _stopped = false;
}
