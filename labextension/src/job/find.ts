import { TranslationBundle } from '@jupyterlab/translation';

import { ApiError, told } from '../api/client';
import { element, setText } from '../card/dom';
import { LogSearch, LONGEST_TEXT, Search } from './search';

/** Search begins when the typing stops. */
const TYPED_MS = 200;

/** What the search needs of the view of the log. */
export interface IFindPlace {
  /** The offset of the line at the top. */
  top(): number;
  /** Brings a hit on screen. */
  show(hit: number): Promise<void>;
  /** Nothing is looked for any more. */
  none(): void;
}

/** The field that searches a log, and what it says of the hits. */
export class LogFind {
  constructor(
    private _ask: Search,
    private _trans: TranslationBundle,
    private _place: IFindPlace
  ) {
    const { input } = this;
    input.placeholder = _trans.__('Search the log');
    input.setAttribute('aria-label', _trans.__('Search the log'));
    input.oninput = () => {
      clearTimeout(this._typed);
      this._typed = setTimeout(() => void this._look(), TYPED_MS);
    };
    input.onkeydown = event => {
      if (event.key === 'Enter') {
        event.preventDefault();
        void this.next(event.shiftKey);
      }
    };
  }

  readonly input = element('input', { type: 'search', maxlength: String(LONGEST_TEXT) });
  readonly words = element('span', { class: 'jp-TrainJobLog-hits', role: 'status' });

  /** The offset of the hit that is shown; -1 for none. */
  get hit(): number {
    return this._hit;
  }

  /** Goes on where it was put away before the search had come to its end. */
  start(): void {
    if (this._search?.stopped) {
      void this._look();
    }
  }

  stop(): void {
    this._search?.stop();
  }

  /** The log is another. */
  reset(): void {
    this.stop();
    this._search = null;
    this._hit = -1;
  }

  dispose(): void {
    this.stop();
    clearTimeout(this._typed);
  }

  async next(back: boolean): Promise<void> {
    if (this._search && this._search.text === this.input.value) {
      await this._showHit(this._search.next(this._hit, back));
    } else {
      await this._look();
    }
  }

  private async _look(): Promise<void> {
    this.reset();
    setText(this.words, '');
    const text = this.input.value;
    if (!text) {
      this._place.none();
      return;
    }
    const from = this._place.top();
    const search = new LogSearch(this._ask, text, () => {
      if (search === this._search) {
        this._showHits(search);
        if (this._hit < 0 && search.hits.length) {
          void this._showHit(search.next(from - 1));
        }
      }
    });
    this._search = search;
    try {
      await search.run(from);
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      setText(this.words, told(error));
    }
  }

  private async _showHit(hit: number): Promise<void> {
    if (hit >= 0) {
      this._hit = hit;
      await this._place.show(hit);
      if (this._search) {
        this._showHits(this._search);
      }
    }
  }

  private _showHits(search: LogSearch): void {
    const trans = this._trans;
    const at = search.hits.indexOf(this._hit) + 1;
    const count = search.count.toLocaleString() + (search.done ? '' : '…');
    const none = search.done ? trans.__('not there') : trans.__('searching…');
    setText(this.words, search.count ? trans.__('%1 of %2', at || '–', count) : none);
  }

  private _search: LogSearch | null = null;
  private _hit = -1;
  private _typed: ReturnType<typeof setTimeout> | undefined;
}
