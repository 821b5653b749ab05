import { element } from '../card/dom';

/** How an item becomes a row. Nodes are used again for other items: `fill` sets all that differs. */
export interface IRowSource<T> {
  /** In pixels; it must not depend on anything but the item. */
  height(item: T): number;
  make(): HTMLElement;
  fill(node: HTMLElement, item: T, index: number): void;
}

/** Rows beyond the edges, so that a scroll shows no gap. */
const SPARE_PX = 200;

/** A list of any length of which only the rows on screen exist. */
export class VirtualList<T> {
  constructor(private _source: IRowSource<T>) {
    this.node.append(this._space);
    this.node.addEventListener('scroll', () => this._draw(false), { passive: true });
    this._resizes = new ResizeObserver(() => this._draw());
    this._resizes.observe(this.node);
  }

  /** Scrolls; its caller gives it a size and a role. */
  readonly node = element('div', { class: 'jp-TrainJobList' });

  get items(): readonly T[] {
    return this._items;
  }

  set items(items: readonly T[]) {
    this._items = items;
    const tops = new Float64Array(items.length + 1);
    for (let index = 0; index < items.length; index++) {
      tops[index + 1] = tops[index] + this._source.height(items[index]);
    }
    this._tops = tops;
    this._space.style.height = `${tops[items.length]}px`;
    this._draw();
  }

  /** The node of an item that is on screen. */
  nodeOf(index: number): HTMLElement | undefined {
    return this._shown.get(index);
  }

  /** The item of a node, or of a node within it. */
  indexOf(node: EventTarget | null): number {
    const row = node instanceof Element ? node.closest<HTMLElement>('[data-index]') : null;
    return row && this._space.contains(row) ? Number(row.dataset.index) : -1;
  }

  /** The rows on screen, from and to (excluded). */
  get range(): [number, number] {
    return this._range;
  }

  /** Fills the rows on screen anew, for what changed around the items. */
  refill(): void {
    for (const [index, node] of this._shown) {
      this._source.fill(node, this._items[index], index);
    }
  }

  scrollTo(index: number): void {
    const top = this._tops[index];
    const bottom = this._tops[index + 1];
    const { scrollTop, clientHeight } = this.node;
    if (top < scrollTop) {
      this.node.scrollTop = top;
    } else if (bottom > scrollTop + clientHeight) {
      this.node.scrollTop = bottom - clientHeight;
    }
    this._draw();
  }

  dispose(): void {
    this._resizes.disconnect();
  }

  private _draw(anew = true): void {
    const { scrollTop, clientHeight } = this.node;
    const from = Math.max(0, this._at(scrollTop - SPARE_PX));
    const to = Math.min(this._items.length, this._at(scrollTop + clientHeight + SPARE_PX) + 1);
    this._range = [from, to];
    const free: HTMLElement[] = [];
    for (const [index, node] of this._shown) {
      if (index < from || index >= to) {
        this._shown.delete(index);
        free.push(node);
      }
    }
    for (let index = from; index < to; index++) {
      let node = this._shown.get(index);
      if (node && !anew) {
        continue;
      }
      if (!node) {
        node = free.pop() ?? this._space.appendChild(this._source.make());
        this._shown.set(index, node);
      }
      node.dataset.index = String(index);
      node.style.transform = `translateY(${this._tops[index]}px)`;
      this._source.fill(node, this._items[index], index);
    }
    free.forEach(node => node.remove());
  }

  /** The item at a height, by halving. */
  private _at(y: number): number {
    let low = 0;
    let high = this._items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this._tops[middle + 1] <= y) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  private _items: readonly T[] = [];
  private _tops = new Float64Array(1);
  private _space = element('div', { class: 'jp-TrainJobList-space', role: 'presentation' });
  private _shown = new Map<number, HTMLElement>();
  private _range: [number, number] = [0, 0];
  private _resizes: ResizeObserver;
}
