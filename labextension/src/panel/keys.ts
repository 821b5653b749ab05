/** What the keyboard and the menu do in the rows of the panel, as a tree grid has them. */
import { CommandRegistry } from '@lumino/commands';

import { Group, groupOf, isGroup, Row } from '../store/groups';
import { jobMenu } from './bulk';
import { Selection } from './selection';
import { VirtualList } from './virtual';

/** A row, nearly: how far a page goes. */
const ROW_PX = 50;

export interface IRowsPlace {
  list: Pick<VirtualList<Row>, 'node' | 'items' | 'indexOf' | 'nodeOf' | 'scrollTo'>;
  selection: Selection;
  commands: CommandRegistry;
  toggle(group: Group, open: boolean): void;
  open(index: number): void;
  /** Of what is selected. */
  cancel(): void;
  /** Others are selected now. */
  changed(): void;
  /** The keyboard stands elsewhere, and as much is selected as before. */
  moved(): void;
}

export class RowKeys {
  constructor(private _place: IRowsPlace) {}

  key(event: KeyboardEvent): void {
    if (this._moves(event) || this._selects(event) || this._acts(event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  contextMenu(event: MouseEvent): void {
    const { list, selection, changed } = this._place;
    const index = list.indexOf(event.target);
    const row = list.items[index];
    if (row && !isGroup(row) && !event.shiftKey) {
      event.preventDefault();
      event.stopPropagation();
      if (!selection.has(row.metadata.uid)) {
        selection.pick(index, false, false);
        changed();
      }
      this._menu(event.clientX, event.clientY);
    }
  }

  private _moves(event: KeyboardEvent): boolean {
    const { list, selection, changed } = this._place;
    const page = Math.max(1, Math.floor(list.node.clientHeight / ROW_PX) - 1);
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -1e9,
      End: 1e9
    };
    if (!(event.key in steps)) {
      return false;
    }
    selection.move(steps[event.key], event.shiftKey);
    list.scrollTo(selection.active);
    changed();
    return true;
  }

  private _selects(event: KeyboardEvent): boolean {
    const { list, selection, changed } = this._place;
    if (event.key === 'a' && (event.ctrlKey || event.metaKey)) {
      selection.all();
    } else if (event.key === 'Escape') {
      selection.none();
    } else if (event.key === ' ' && this._job()) {
      selection.pick(selection.active, false, true);
    } else if (event.key === 'ArrowLeft' && this._job()) {
      const group = groupOf(this._job()!);
      selection.active = list.items.findIndex(one => isGroup(one) && one.group === group);
      list.scrollTo(selection.active);
      this._place.moved();
      return true;
    } else {
      return false;
    }
    changed();
    return true;
  }

  private _acts(event: KeyboardEvent): boolean {
    const { list, selection } = this._place;
    const row = list.items[selection.active];
    if (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey)) {
      this._menuAt(selection.active);
    } else if (!row) {
      return false;
    } else if (isGroup(row) && ['Enter', ' ', 'ArrowLeft', 'ArrowRight'].includes(event.key)) {
      this._place.toggle(row.group, event.key === 'ArrowRight' || (event.key !== 'ArrowLeft' && !row.open));
    } else if (event.key === 'Enter') {
      this._place.open(selection.active);
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      this._place.cancel();
    } else {
      return false;
    }
    return true;
  }

  /** The job where the keyboard stands. */
  private _job() {
    const row = this._place.list.items[this._place.selection.active];
    return row && !isGroup(row) ? row : null;
  }

  private _menuAt(index: number): void {
    const { list } = this._place;
    const node = list.nodeOf(index);
    const row = list.items[index];
    if (node && row && !isGroup(row)) {
      const { left, bottom } = node.getBoundingClientRect();
      this._menu(left + 24, bottom - 8);
    }
  }

  private _menu(x: number, y: number): void {
    const { commands, list } = this._place;
    jobMenu(commands, () => list.node.focus()).open(x, y);
  }
}
