import { isGroup, Row } from '../store/groups';

/** Which rows are chosen, and where the keyboard stands. Rows come and go and move: what is chosen is kept by uid. */
export class Selection {
  constructor(private _rows: () => readonly Row[]) {}

  /** The row where the keyboard stands; -1 where it is nowhere. */
  active = -1;

  has(uid: string): boolean {
    return this._chosen.has(uid);
  }

  /** What is chosen and to be seen, in the order of the rows: nothing is done to what a filter or a closed group hides. */
  uids(): string[] {
    if (!this._chosen.size) {
      return [];
    }
    return this._rows().flatMap(row => (!isGroup(row) && this._chosen.has(row.metadata.uid) ? row.metadata.uid : []));
  }

  /** A click: alone, with Shift from the last one to here, with Ctrl in addition. */
  pick(index: number, range: boolean, add: boolean): void {
    const row = this._rows()[index];
    this.active = index;
    if (!row || isGroup(row)) {
      return;
    }
    const { uid } = row.metadata;
    if (range) {
      this._range(index);
      return;
    }
    if (!add) {
      this._chosen.clear();
      this._chosen.add(uid);
    } else if (!this._chosen.delete(uid)) {
      this._chosen.add(uid);
    }
    this._anchor = uid;
  }

  /** The arrow keys: with Shift, what is passed is chosen too. */
  move(steps: number, range: boolean): void {
    const last = this._rows().length - 1;
    const to = Math.max(0, Math.min(last, this.active + steps));
    if (last >= 0) {
      this.pick(to, range, false);
    }
  }

  all(): void {
    for (const row of this._rows()) {
      if (!isGroup(row)) {
        this._chosen.add(row.metadata.uid);
      }
    }
  }

  none(): void {
    this._chosen.clear();
  }

  /** What the keyboard stands on, to find it again among other rows. */
  activeKey(): string {
    const row = this._rows()[this.active];
    return row ? key(row) : '';
  }

  restore(active: string): void {
    const rows = this._rows();
    const at = active ? rows.findIndex(row => key(row) === active) : -1;
    this.active = at >= 0 ? at : Math.min(this.active, rows.length - 1);
  }

  private _range(to: number): void {
    const rows = this._rows();
    const from = rows.findIndex(row => !isGroup(row) && row.metadata.uid === this._anchor);
    const [low, high] = from < 0 ? [to, to] : [Math.min(from, to), Math.max(from, to)];
    this._chosen.clear();
    for (const row of rows.slice(low, high + 1)) {
      if (!isGroup(row)) {
        this._chosen.add(row.metadata.uid);
      }
    }
  }

  private _chosen = new Set<string>();
  private _anchor = '';
}

function key(row: Row): string {
  return isGroup(row) ? `group ${row.group}` : row.metadata.uid;
}
