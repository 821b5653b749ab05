import { Clipboard, Notification } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { ApiError, told } from '../api/client';
import { ansiFragment } from '../card/ansi';
import { element, setText } from '../card/dom';
import { bytes } from '../card/words';
import { VirtualList } from '../panel/virtual';
import { LogFind } from './find';
import { saveAs, wholeLog } from './save';
import { Search } from './search';
import { Fetch, ILine, LogWindow, PIECE } from './window';

const LINE_PX = 18;
/** So near to the edge of what is here, more is read. */
const NEAR_PX = 600;
const WAIT_SECONDS = 15;
const AGAIN_MS = 3_000;

/** A log of any size: live at its end, by offset anywhere else. */
export class LogView {
  constructor(
    private _name: string,
    private _fetch: Fetch,
    search: Search,
    private _trans: TranslationBundle
  ) {
    this._window = new LogWindow(_fetch);
    this._list = new VirtualList<ILine>({
      height: () => LINE_PX,
      make: () => element('div', { class: 'jp-TrainJobLog-line' }),
      fill: (node, line) => this._fill(node, line)
    });
    this._find = new LogFind(search, _trans, {
      top: () => this._topOffset(),
      show: hit => {
        this.following = false;
        return this._goTo(hit);
      },
      none: () => this._list.refill()
    });
    this._build();
  }

  readonly node = element('div', { class: 'jp-TrainJobLog' });

  /** Reads, and follows the end, until {@link stop}. */
  start(): void {
    if (!this._running) {
      this._running = true;
      void this._run(++this._turn);
      this._find.start();
    }
  }

  stop(): void {
    this._running = false;
    this._turn += 1;
    this._find.stop();
  }

  /** Another attempt has begun: its log is another. */
  reset(): void {
    const running = this._running;
    this.stop();
    this._window = new LogWindow(this._fetch);
    this._begun = false;
    this._find.reset();
    this.following = true;
    this._show(true);
    if (running) {
      this.start();
    }
  }

  dispose(): void {
    this.stop();
    this._find.dispose();
    this._list.dispose();
  }

  /** Whether the end is followed as it grows. */
  get following(): boolean {
    return this._follow.checked;
  }

  set following(follow: boolean) {
    this._follow.checked = follow;
  }

  private _build(): void {
    const trans = this._trans;
    const button = (words: string, action: () => unknown) => {
      const found = element('button', { type: 'button', class: 'jp-TrainJobs-plain' }, words);
      found.onclick = () => void action();
      return found;
    };
    this._follow.onchange = () => this.following && void this._toEnd();
    this._slider.setAttribute('aria-label', trans.__('Place in the log'));
    this._slider.oninput = () => void this._slide();
    const list = this._list.node;
    const names = { role: 'log', tabindex: '0', 'aria-live': 'off', 'aria-label': trans.__('Log of %1', this._name) };
    Object.entries(names).forEach(([name, value]) => list.setAttribute(name, value));
    list.classList.add('jp-TrainJobLog-lines');
    list.addEventListener('scroll', () => this._scrolled(), { passive: true });
    list.addEventListener('keydown', event => this._key(event));
    this.node.append(
      element(
        'div',
        { class: 'jp-TrainJobLog-bar' },
        this._find.input,
        button('↑', () => this._find.next(true)),
        button('↓', () => this._find.next(false)),
        this._find.words,
        element('label', {}, this._follow, trans.__('Follow')),
        button(trans.__('Start'), () => this._toStart()),
        button(trans.__('End'), () => this._toEnd()),
        button(trans.__('Copy'), () => this._copy()),
        button(trans.__('Download'), () => this._download())
      ),
      list,
      element('div', { class: 'jp-TrainJobLog-foot' }, this._slider, this._place)
    );
    this.node.querySelectorAll('button')[0].setAttribute('aria-label', trans.__('Previous hit'));
    this.node.querySelectorAll('button')[1].setAttribute('aria-label', trans.__('Next hit'));
    this._showPlace();
  }

  private async _run(turn: number): Promise<void> {
    while (this._running && turn === this._turn) {
      try {
        if (!this._begun) {
          await this._window.toEnd();
          this._begun = true;
          this._show(true);
        }
        if (this._window.complete && this._window.atEnd) {
          this._running = false;
          return;
        }
        if (!this._window.atEnd && this.following) {
          await this._catchUp(turn);
        } else if (!this._window.atEnd) {
          // somebody reads elsewhere: only how long it is
          const chunk = await this._fetch(this._window.size, 1, WAIT_SECONDS);
          this._window.size = Math.max(this._window.size, chunk.size);
          this._window.complete = chunk.complete;
          this._showPlace();
          if (chunk.complete) {
            this._running = false;
          }
        } else if (await this._window.forward(WAIT_SECONDS)) {
          this._show(this.following);
        } else if (!this._window.size) {
          await pause(500); // no log yet
        }
      } catch (error) {
        if (!(error instanceof ApiError)) {
          throw error;
        }
        if (!error.passing) {
          setText(this._place, told(error));
        }
        await pause(AGAIN_MS);
      }
    }
  }

  /** The log grows faster than it was read: what lies between is passed over, and can be scrolled to. */
  private async _catchUp(turn: number): Promise<void> {
    const behind = this._window.size - this._window.end;
    const more = behind > 2 * PIECE ? await this._window.toEnd().then(() => true) : await this._window.forward();
    if (turn === this._turn && this.following) {
      this._show(true);
    }
    if (!more) {
      await pause(AGAIN_MS); // nothing comes, though it is said to be longer
    }
  }

  private _fill(node: HTMLElement, line: ILine): void {
    if (line.gap) {
      node.className = 'jp-TrainJobLog-line jp-mod-gap';
      delete node.dataset.text; // the line that it showed is to be drawn again
      setText(node, this._trans.__('… %1 were left out here, as the log is longer than it may be …', bytes(line.gap)));
      return;
    }
    const { hit } = this._find;
    const end = line.offset + line.bytes.length;
    node.className = 'jp-TrainJobLog-line';
    node.classList.toggle('jp-mod-hit', hit >= line.offset && hit < Math.max(end, line.offset + 1));
    const text = shown(this._decoder.decode(line.bytes));
    if (node.dataset.text !== text) {
      node.dataset.text = text;
      node.replaceChildren(ansiFragment(text || ' '));
    }
  }

  private _show(toEnd: boolean): void {
    const before = this._list.node.scrollTop;
    this._list.items = this._window.lines;
    this._moving = true;
    this._list.node.scrollTop = toEnd ? this._list.node.scrollHeight : before;
    this._showPlace();
  }

  /** Shows other rows and keeps the one at `offset` where it was on screen, or puts it in the middle. */
  private _showAt(offset: number, y = this._list.node.clientHeight / 3): void {
    this._list.items = this._window.lines;
    this._moving = true;
    this._list.node.scrollTop = this._window.lineAt(offset) * LINE_PX - y;
    this._list.refill();
    this._showPlace();
  }

  private _scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this._list.node;
    const atEnd = scrollHeight - scrollTop - clientHeight < 2 * LINE_PX;
    if (this._moving) {
      this._moving = false;
    } else if (!atEnd) {
      this.following = false;
    }
    this._showPlace();
    if (this._busy) {
      return;
    }
    if (scrollTop < NEAR_PX && !this._window.atStart) {
      void this._more(() => this._window.back());
    } else if (scrollHeight - scrollTop - clientHeight < NEAR_PX && !this._window.atEnd) {
      void this._more(() => this._window.forward());
    }
  }

  private async _more(read: () => Promise<boolean>): Promise<void> {
    await this._work(async () => {
      const top = this._list.node.scrollTop;
      const index = Math.floor(top / LINE_PX);
      const line = this._window.lines[index];
      if ((await read()) && line) {
        const now = this._list.node.scrollTop; // it may have been scrolled meanwhile
        this._showAt(line.offset, index * LINE_PX - now);
      }
    });
  }

  private async _toEnd(): Promise<void> {
    this.following = true;
    await this._work(async () => {
      if (!this._window.atEnd) {
        await this._window.toEnd();
      }
      this._show(true);
    });
    this.start();
  }

  private async _toStart(): Promise<void> {
    this.following = false;
    await this._goTo(0);
  }

  private async _goTo(offset: number): Promise<void> {
    await this._work(async () => {
      if (offset < this._window.start || offset >= this._window.end || (offset === 0 && !this._window.atStart)) {
        await this._window.jump(offset);
      }
      this._showAt(offset);
    });
  }

  private async _slide(): Promise<void> {
    this.following = false;
    this._wanted = Math.round((Number(this._slider.value) / 1000) * this._window.size);
    if (!this._busy) {
      while (this._wanted !== null) {
        const offset: number = this._wanted;
        this._wanted = null;
        await this._goTo(offset);
      }
    }
  }

  private async _work(action: () => Promise<void>): Promise<void> {
    this._busy = true;
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      setText(this._place, told(error));
    } finally {
      this._busy = false;
    }
  }

  private _topOffset(): number {
    const lines = this._window.lines;
    return lines[Math.min(lines.length - 1, Math.floor(this._list.node.scrollTop / LINE_PX))]?.offset ?? 0;
  }

  private _showPlace(): void {
    const { size } = this._window;
    const whole = this._window.atStart && this._window.atEnd;
    this._slider.hidden = whole;
    if (!whole && document.activeElement !== this._slider) {
      this._slider.value = String(this.following ? 1000 : Math.round((this._topOffset() / size) * 1000));
    }
    const where = whole ? bytes(size) : this._trans.__('%1 of %2', bytes(this._topOffset()), bytes(size));
    setText(this._place, size ? where : this._trans.__('Nothing was printed yet.'));
  }

  private _key(event: KeyboardEvent): void {
    if ((event.key === 'f' && (event.ctrlKey || event.metaKey)) || event.key === '/') {
      this._find.input.focus();
      this._find.input.select();
    } else if (event.key === 'End') {
      void this._toEnd();
    } else if (event.key === 'Home') {
      void this._toStart();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** What is selected, or all that is loaded. */
  private _copy(): void {
    const selected = document.getSelection();
    const inside = selected && !selected.isCollapsed && this._list.node.contains(selected.anchorNode);
    Clipboard.copyToSystem(inside ? selected.toString() : this._window.text());
  }

  private async _download(): Promise<void> {
    const { size } = this._window;
    try {
      const onward = (at: number) =>
        setText(this._place, this._trans.__('Downloading: %1 of %2', bytes(at), bytes(size)));
      saveAs(await wholeLog(this._fetch, size, onward), `${this._name}.log`);
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      Notification.error(told(error), { autoClose: false });
    } finally {
      this._showPlace();
    }
  }

  private _window: LogWindow;
  private _list: VirtualList<ILine>;
  private _find: LogFind;
  private _follow = element('input', { type: 'checkbox', checked: '' });
  private _slider = element('input', { type: 'range', min: '0', max: '1000', step: '1', hidden: '' });
  private _place = element('span', { class: 'jp-TrainJobLog-place', role: 'status', 'aria-live': 'off' });
  private _decoder = new TextDecoder();
  private _wanted: number | null = null;
  private _begun = false;
  private _running = false;
  private _turn = 0;
  private _busy = false;
  /** The next scroll event is our own doing. */
  private _moving = false;
}

/** A line after its carriage returns, as progress bars leave it. */
function shown(line: string): string {
  const parts = line.replace(/\r+$/, '').split('\r');
  return parts[parts.length - 1];
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
