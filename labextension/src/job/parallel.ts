/** Jobs as lines across one axis for each parameter and metric; what is marked on an axis chooses among them. */
import { TranslationBundle } from '@jupyterlab/translation';

import { element, setText } from '../card/dom';
import { shortNumber } from '../panel/spark';
import { ITable, ITableRow, Value } from './table';

const SVG = 'http://www.w3.org/2000/svg';
const APART = 150;
const LEFT = 60;
const TOP = 26;
const LENGTH = 130;
/** A mark that is thinner is not seen. */
const LEAST = 3;
/** A press that moves less is a click. */
const CLICK = 0.03;
/** So near to an end of the axis, the end is meant: what lies there is to be caught. */
const NEAR = 0.04;

/** One axis: where a value lies on it, from 0 at its foot to 1; a number beyond its ends lies beyond those. */
export interface IAxis {
  id: string;
  label: string;
  foot: string;
  head: string;
  /** Values that lie evenly from its foot to its head. */
  ticks: Value[];
  place(value: Value): number | null;
}

/** A part of an axis, between two places. */
export type Range = [number, number];

/** What is marked: a part of an axis as it was then. New values give an axis another scale, and the mark no other meaning. */
export interface IMark {
  on: IAxis;
  range: Range;
}

/** An axis for each column: of numbers from the least to the most, else of the words there are, in order. Pure. */
export function axesOf({ columns, rows }: ITable): IAxis[] {
  return columns.flatMap(({ id, label }): IAxis[] => {
    const values = rows.flatMap(row => row.values[id] ?? []);
    if (!values.length) {
      return [];
    }
    if (values.every(value => typeof value === 'number' && Number.isFinite(value))) {
      const numbers = values as number[];
      const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
      const around = high > low ? 0 : Math.abs(low) / 2 || 0.5; // one value alone lies in the middle
      const [from, to] = [low - around, high + around];
      const place = (value: Value) => (typeof value === 'number' ? (value - from) / (to - from) : null);
      return [{ id, label, foot: shortNumber(low), head: shortNumber(high), ticks: [from, to], place }];
    }
    const words = [...new Set(values.map(String))].sort();
    const place = (value: Value) => {
      const index = value === null ? -1 : words.indexOf(String(value));
      return index < 0 ? null : words.length > 1 ? index / (words.length - 1) : 0.5;
    };
    return [{ id, label, foot: words[0], head: words[words.length - 1], ticks: words, place }];
  });
}

/** The rows that lie within all that is marked. Pure. */
export function within(rows: ITableRow[], axes: IAxis[], marks: Map<string, IMark>): ITableRow[] {
  return rows.filter(({ values }) =>
    axes.every(({ id }) => {
      const mark = marks.get(id);
      const at = mark ? mark.on.place(values[id] ?? null) : null;
      return !mark || (at !== null && at >= mark.range[0] && at <= mark.range[1]);
    })
  );
}

/** Where a mark lies on its axis as it is now, as much of it as is there. Pure. */
export function rangeOn({ ticks, place }: IAxis, { on, range }: IMark): Range {
  if (String(ticks) === String(on.ticks)) {
    return range;
  }
  const last = on.ticks.length - 1;
  const moved = (at: number) => {
    const below = Math.max(0, Math.min(Math.floor(at * last), last - 1));
    const from = place(on.ticks[below]);
    const to = place(on.ticks[Math.min(below + 1, last)]);
    const now = from === null || to === null ? at : from + (at * last - below) * (to - from);
    return Math.max(0, Math.min(1, now));
  };
  return [moved(range[0]), moved(range[1])];
}

export class ParallelView {
  constructor(
    trans: TranslationBundle,
    private _choose: (uids: string[]) => void
  ) {
    const help = trans.__(
      'Each line is a job. Drag along an axis to choose the jobs there, click it to let all pass again; the boxes in the table choose, too.'
    );
    setText(this._help, help);
    const scroll = { class: 'jp-TrainJobAxes-scroll', role: 'region', tabindex: '0' };
    const box = element('div', { ...scroll, 'aria-label': trans.__('Parameters and metrics of the jobs, as axes') });
    this._svg.setAttribute('role', 'img');
    this._svg.setAttribute('aria-label', help);
    box.append(this._svg);
    this.node.append(this._help, box);
    this._svg.addEventListener('pointerdown', event => this._press(event));
    this._svg.addEventListener('pointermove', event => this._drag(event));
    this._svg.addEventListener('pointerup', () => this._let());
    this._svg.addEventListener('pointercancel', () => this._undo());
  }

  readonly node = element('div', { class: 'jp-TrainJobAxes', hidden: '' });

  show(table: ITable, chosen: ReadonlySet<string>): void {
    if (this._pressed) {
      return; // not under somebody's hand
    }
    this._table = table;
    this._axes = axesOf(table);
    this.node.hidden = this._axes.length < 2 || table.rows.length < 2;
    this._chosen = chosen;
    this._draw();
  }

  private _draw(): void {
    const width = 2 * LEFT + Math.max(0, this._axes.length - 1) * APART;
    const height = TOP + LENGTH + 22;
    Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` }).forEach(([name, value]) =>
      this._svg.setAttribute(name, String(value))
    );
    const lines = this._table.rows.map(row => this._line(row));
    this._svg.replaceChildren(...lines, ...this._axes.flatMap((axis, index) => this._axis(axis, index)));
  }

  private _line({ job, values }: ITableRow): SVGElement {
    const points = this._axes.flatMap(({ id, place }, index) => {
      const at = place(values[id] ?? null);
      return at === null ? [] : `${LEFT + index * APART},${yOf(at).toFixed(1)}`;
    });
    const line = shape('polyline', { points: points.join(' '), 'data-uid': job.metadata.uid });
    line.classList.toggle('jp-mod-chosen', this._chosen.has(job.metadata.uid));
    const title = shape('title', {});
    title.textContent = job.metadata.name;
    line.append(title);
    return line;
  }

  private _axis(axis: IAxis, index: number): SVGElement[] {
    const { id, label, foot, head } = axis;
    const x = LEFT + index * APART;
    const text = (words: string, y: number, name: string) => {
      const found = shape('text', { x, y, class: name, 'text-anchor': 'middle' });
      found.textContent = words.length > 20 ? `${words.slice(0, 19)}…` : words;
      return found;
    };
    const mark = this._marks.get(id);
    const [from, to] = mark ? rangeOn(axis, mark) : [0, 0];
    const height = Math.max(LEAST, LENGTH * (to - from));
    const marked = mark ? [shape('rect', { class: 'jp-mod-range', x: x - 7, width: 14, y: yOf(to), height })] : [];
    return [
      shape('line', { x1: x, x2: x, y1: TOP, y2: TOP + LENGTH }),
      ...marked,
      text(label, 10, 'jp-mod-label'),
      text(head, TOP - 4, ''),
      text(foot, TOP + LENGTH + 14, ''),
      shape('rect', { class: 'jp-mod-hold', 'data-axis': id, x: x - 14, width: 28, y: TOP - 4, height: LENGTH + 8 })
    ];
  }

  private _press(event: PointerEvent): void {
    const id = (event.target as Element).getAttribute('data-axis');
    const axis = this._axes.find(one => one.id === id);
    if (axis && event.button === 0) {
      event.preventDefault();
      this._svg.setPointerCapture?.(event.pointerId);
      this._pressed = { axis, from: this._placeOf(event), before: this._marks.get(axis.id) };
    }
  }

  private _drag(event: PointerEvent): void {
    if (this._pressed) {
      const to = this._placeOf(event);
      const { axis, from } = this._pressed;
      if (Math.abs(to - from) >= CLICK) {
        this._marks.set(axis.id, { on: axis, range: [Math.min(from, to), Math.max(from, to)] });
        this._pressed.moved = true;
      }
      this._draw();
    }
  }

  private _let(): void {
    const pressed = this._pressed;
    this._pressed = null;
    if (!pressed || (!pressed.moved && !pressed.before)) {
      return;
    }
    if (!pressed.moved) {
      this._marks.delete(pressed.axis.id);
    }
    this._choose(within(this._table.rows, this._axes, this._marks).map(({ job }) => job.metadata.uid));
  }

  /** The browser took the pointer for something else: nothing was marked. */
  private _undo(): void {
    const pressed = this._pressed;
    this._pressed = null;
    if (pressed?.before) {
      this._marks.set(pressed.axis.id, pressed.before);
    } else if (pressed) {
      this._marks.delete(pressed.axis.id);
    }
    this._draw();
  }

  private _placeOf(event: PointerEvent): number {
    const y = event.clientY - this._svg.getBoundingClientRect().top;
    const place = 1 - (y - TOP) / LENGTH;
    return place > 1 - NEAR ? 1 : place < NEAR ? 0 : place;
  }

  private _svg = document.createElementNS(SVG, 'svg');
  private _help = element('p', { class: 'jp-TrainJobAxes-help' });
  private _table: ITable = { columns: [], rows: [] };
  private _axes: IAxis[] = [];
  private _chosen: ReadonlySet<string> = new Set();
  private _marks = new Map<string, IMark>();
  private _pressed: { axis: IAxis; from: number; before?: IMark; moved?: boolean } | null = null;
}

function yOf(place: number): number {
  return TOP + LENGTH * (1 - place);
}

function shape(name: string, attributes: Record<string, string | number>): SVGElement {
  const found = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => value !== '' && found.setAttribute(key, String(value)));
  return found;
}
