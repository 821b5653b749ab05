import '../../style/panel.css';

import { TranslationBundle } from '@jupyterlab/translation';
import { LabIcon, addIcon, filterIcon, treeViewIcon } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Message } from '@lumino/messaging';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { JobActions } from '../actions';
import { ITrainJob, refOf } from '../api/types';
import { element, setText } from '../card/dom';
import { CommandIDs } from '../commands';
import { EVERYTHING, Group, IFilter, isEmpty, isGroup, passes, Row, rowsOf } from '../store/groups';
import { JobStore } from '../store/jobs';
import { JobList } from '../store/list';
import { BulkBar } from './bulk';
import { FilterForm, ISavedFilter } from './filters';
import { RowKeys } from './keys';
import { RowAction, rowHeight, RowView } from './row';
import { Selection } from './selection';
import { Sparks } from './sparks';
import { VirtualList } from './virtual';
import { emptyWords, problemWords } from './words';

/** Where saved filters are kept. */
export interface IFilterStore {
  load(): Promise<ISavedFilter[]>;
  /** Asks for a name and keeps the filter; all that are kept now. */
  save(filter: IFilter): Promise<ISavedFilter[]>;
  forget(name: string): Promise<ISavedFilter[]>;
}

export interface IPanelContext {
  store: JobStore;
  list: JobList;
  actions: JobActions;
  commands: CommandRegistry;
  filters: IFilterStore;
  trans: TranslationBundle;
  /** Where copies of notebooks go. */
  folder: () => string;
  /** Whether there may be jobs of others that one may see. */
  seesOthers: () => Promise<boolean>;
}

let counter = 0;

/** The jobs of the one who looks, newest first and grouped by state, live. */
export class JobsPanel extends Widget {
  constructor(private _context: IPanelContext) {
    super();
    const { trans, list } = _context;
    this.addClass('jp-TrainJobs');
    const rowId = `jp-TrainJobs-${counter++}-row`;
    this._sparks = new Sparks(
      _context.store.client,
      () => this._visible().filter(job => job.status.phase === 'Running'),
      () => this._tick()
    );
    this._rows = new RowView(
      trans,
      {
        nowMs: () => _context.store.client.now(),
        spark: uid => this._sparks.get(uid),
        selected: uid => this.selection.has(uid),
        active: index => index === this.selection.active,
        owners: () => list.whose === 'all'
      },
      rowId
    );
    this._list = new VirtualList<Row>({
      height: rowHeight,
      make: () => this._rows.make(),
      fill: (node, row, index) => this._rows.fill(node, row, index)
    });
    this.selection = new Selection(() => this._list.items);
    this._filter = new FilterForm(trans);
    this._bulk = new BulkBar(_context.commands, trans);
    this._build(rowId);
  }

  readonly selection: Selection;

  /** The jobs that commands act upon have changed. */
  get selectionChanged(): ISignal<this, void> {
    return this._selectionChanged;
  }

  /** What commands act upon. */
  selected(): ITrainJob[] {
    return this.selection.uids().flatMap(uid => this._context.list.jobs.get(uid) ?? []);
  }

  /** Puts the cursor where one begins to type what one looks for. */
  find(): void {
    this._filter.search.focus();
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._sleep();
      this._context.list.changed.disconnect(this._update, this);
      this._context.store.liveChanged.disconnect(this._showLive, this);
      this._list.dispose();
      super.dispose();
    }
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._context.list.changed.connect(this._update, this);
    this._context.store.liveChanged.connect(this._showLive, this);
    if (this.isVisible) {
      this._wake();
    }
  }

  protected onBeforeDetach(message: Message): void {
    this._sleep();
    this._context.list.changed.disconnect(this._update, this);
    this._context.store.liveChanged.disconnect(this._showLive, this);
    super.onBeforeDetach(message);
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._wake();
  }

  protected onBeforeHide(message: Message): void {
    this._sleep();
    super.onBeforeHide(message);
  }

  protected onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this._list.node.focus();
  }

  private _wake(): void {
    if (this._shown) {
      return;
    }
    const { list, filters, seesOthers } = this._context;
    this._shown = true;
    void list.begin(true);
    list.watchPlaces(true);
    this._sparks.start();
    this._clock = setInterval(() => this._tick(), 1000);
    this._update();
    if (!this._asked) {
      this._asked = true;
      void filters.load().then(saved => this._filter.setSaved(saved));
      void seesOthers().then(others => (this._whose.hidden = !others));
    }
  }

  private _sleep(): void {
    this._shown = false;
    this._context.list.watchPlaces(false);
    this._sparks.stop();
    clearInterval(this._clock);
  }

  private _build(rowId: string): void {
    const { trans, commands } = this._context;
    const submit = this._tool(addIcon, trans.__('Submit a notebook…'), () => commands.execute(CommandIDs.submitForm));
    const queues = this._tool(treeViewIcon, trans.__('Show the queues'), () => commands.execute(CommandIDs.queues));
    submit.hidden = !commands.hasCommand(CommandIDs.submitForm);
    queues.hidden = !commands.hasCommand(CommandIDs.queues); // Notebook 7 has no place for them
    this._more = this._tool(filterIcon, trans.__('Filter'), () => this._toggleFilter());
    this._more.setAttribute('aria-expanded', 'false');
    this._whose.append(
      element('option', { value: 'mine' }, trans.__('My jobs')),
      element('option', { value: 'all' }, trans.__('All jobs I may see'))
    );
    this._whose.setAttribute('aria-label', trans.__('Whose jobs'));
    this._whose.onchange = () => void this._context.list.show(this._whose.value === 'all' ? 'all' : 'mine');
    this._filter.changed.connect((_, filter) => this._setFilter(filter));
    this._filter.wanted.connect((_, { verb, name }) => void this._keepFilter(verb, name));
    const node = this._list.node;
    const names = { role: 'treegrid', tabindex: '0', 'aria-label': trans.__('Jobs'), 'aria-multiselectable': 'true' };
    Object.entries(names).forEach(([name, value]) => node.setAttribute(name, value));
    node.dataset.lmSuppressShortcuts = 'true';
    node.addEventListener('click', event => this._click(event));
    node.addEventListener('dblclick', event => this._open(this._list.indexOf(event.target)));
    const keys = new RowKeys({
      list: this._list,
      selection: this.selection,
      commands,
      toggle: (group, open) => this._toggleGroup(group, open),
      open: index => this._open(index),
      cancel: () => void this._context.actions.cancel(this.selected()),
      changed: () => this._changedSelection(),
      moved: () => this._showActive()
    });
    node.addEventListener('keydown', event => keys.key(event));
    node.addEventListener('contextmenu', event => keys.contextMenu(event));
    this._rowId = rowId;
    const title = element('h2', { class: 'jp-TrainJobs-title' }, trans.__('Jobs'));
    this.node.append(
      element('div', { class: 'jp-TrainJobs-bar' }, title, this._whose, this._away, submit, queues),
      element('div', { class: 'jp-TrainJobs-bar' }, this._filter.search, this._more),
      this._filter.more,
      this._bulk.node,
      this._message,
      node,
      this._foot
    );
  }

  private _tool(icon: LabIcon, label: string, action: () => unknown): HTMLButtonElement {
    const button = element('button', { type: 'button', class: 'jp-TrainJobs-tool', title: label, 'aria-label': label });
    icon.element({ container: button, width: '16px', height: '16px' });
    button.onclick = () => void action();
    return button;
  }

  private _update(): void {
    if (!this._shown) {
      return;
    }
    const { list, store, trans } = this._context;
    const now = store.client.now();
    const active = this.selection.activeKey();
    this._list.items = rowsOf(list.jobs.values(), passes(this._value, now), this._closed);
    this.selection.restore(active);
    this._list.node.setAttribute('aria-rowcount', String(this._list.items.length));
    this._showActive();
    this._showLive();
    setText(this._message, this._list.items.length ? problemWords(list) : emptyWords(list, trans));
    setText(
      this._foot,
      list.loading ? trans.__('Reading older jobs…') : list.cut ? trans.__('Older jobs are not shown.') : ''
    );
    const queues = [...new Set([...list.jobs.values()].map(job => job.spec.queue ?? ''))].filter(Boolean).sort();
    if (queues.join() !== this._queues) {
      this._queues = queues.join();
      this._filter.setQueues(queues);
    }
    this._showBulk();
  }

  private _showLive(): void {
    const { store, list, trans } = this._context;
    const away = !store.live || list.problem?.passing === true;
    setText(this._away, away ? trans.__('Reconnecting…') : '');
    this.node.classList.toggle('jp-mod-away', away);
  }

  /** What moves by itself. */
  private _tick(): void {
    if (document.hidden) {
      return;
    }
    const [from, to] = this._list.range;
    for (let index = from; index < to; index++) {
      const node = this._list.nodeOf(index);
      if (node) {
        this._rows.tick(node, this._list.items[index]);
      }
    }
  }

  private _visible(): ITrainJob[] {
    const [from, to] = this._list.range;
    return this._list.items.slice(from, to).filter((row): row is ITrainJob => !isGroup(row));
  }

  private _setFilter(filter: IFilter): void {
    this._value = filter;
    this._more.classList.toggle('jp-mod-on', !isEmpty({ ...filter, text: '' }));
    this._update();
  }

  private _toggleFilter(): void {
    const open = this._filter.more.hidden;
    this._filter.more.hidden = !open;
    this._more.setAttribute('aria-expanded', String(open));
  }

  private async _keepFilter(verb: 'save' | 'forget', name: string): Promise<void> {
    const { filters } = this._context;
    this._filter.setSaved(await (verb === 'save' ? filters.save(this._value) : filters.forget(name)));
  }

  private _toggleGroup(group: Group, open: boolean): void {
    if (open) {
      this._closed.delete(group);
    } else {
      this._closed.add(group);
    }
    this._update();
  }

  private _click(event: MouseEvent): void {
    const index = this._list.indexOf(event.target);
    const row = this._list.items[index];
    if (!row) {
      return;
    }
    if (isGroup(row)) {
      this.selection.active = index;
      this._toggleGroup(row.group, !row.open);
      return;
    }
    const button = (event.target as Element).closest<HTMLElement>('[data-action]');
    if (button) {
      this._act(button.dataset.action as RowAction, row);
      return;
    }
    this.selection.pick(index, event.shiftKey, event.ctrlKey || event.metaKey);
    this._changedSelection();
  }

  private _act(action: RowAction, job: ITrainJob): void {
    const { actions, folder } = this._context;
    switch (action) {
      case 'log':
        this._openJob(job);
        break;
      case 'cancel':
        void actions.cancel([job]);
        break;
      case 'retry':
        void actions.retry([job]);
        break;
      case 'notebook':
        void actions.openNotebook(refOf(job), folder());
        break;
      case 'download':
        actions.download(refOf(job));
        break;
    }
  }

  private _openJob(job: ITrainJob): void {
    void this._context.commands.execute(CommandIDs.open, { ...refOf(job) });
  }

  private _open(index: number): void {
    const row = this._list.items[index];
    if (row && !isGroup(row)) {
      this._openJob(row);
    }
  }

  private _changedSelection(): void {
    this._list.refill();
    this._showActive();
    this._showBulk();
    this._selectionChanged.emit();
  }

  private _showBulk(): void {
    const count = this.selected().length;
    if (count !== this._selected) {
      this._selected = count;
      this._selectionChanged.emit(); // a filter hides what was chosen, too
    }
    this._bulk.show(count);
  }

  private _showActive(): void {
    const { active } = this.selection;
    const node = this._list.node;
    if (this._list.nodeOf(active)) {
      node.setAttribute('aria-activedescendant', `${this._rowId}-${active}`);
    } else {
      node.removeAttribute('aria-activedescendant');
    }
  }

  private _rows: RowView;
  private _list: VirtualList<Row>;
  private _sparks: Sparks;
  private _filter: FilterForm;
  private _more!: HTMLButtonElement;
  private _whose = element('select', { class: 'jp-TrainJobs-whose', hidden: '' });
  private _away = element('span', { class: 'jp-TrainJobs-away', role: 'status' });
  private _bulk: BulkBar;
  private _message = element('p', { class: 'jp-TrainJobs-message', role: 'status' });
  private _foot = element('p', { class: 'jp-TrainJobs-foot', role: 'status' });
  private _value: IFilter = EVERYTHING;
  private _closed = new Set<Group>();
  private _queues = '';
  private _selected = 0;
  private _rowId = '';
  private _shown = false;
  private _asked = false;
  private _clock: ReturnType<typeof setInterval> | undefined;
  private _selectionChanged = new Signal<this, void>(this);
}
