import '../../style/queues.css';

import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { JobActions } from '../actions';
import { ApiError, told } from '../api/client';
import { hasGate, IPermission, IQueue, isHeld, ITrainJob, refOf } from '../api/types';
import { element, setText } from '../card/dom';
import { gateWords, note, span } from '../card/words';
import { CommandIDs } from '../commands';
import { JobStore } from '../store/jobs';
import { askLimit, limitWords } from './limit';
import { barsOf, LIMITS, mayJob, mayQueue, treeOf } from './tree';

const EVERY_MS = 5_000;
/** After a change that the feed tells. */
const SOON_MS = 400;
const WAITING_SHOWN = 200;

export interface IQueuesContext {
  store: JobStore;
  actions: JobActions;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The queues as a tree, what they use of what they may, who waits and why; what one may change, as the server permits. */
export class QueuesView extends Widget {
  constructor(private _context: IQueuesContext) {
    super();
    const { trans } = _context;
    this.addClass('jp-TrainJobQueues');
    this._tree.setAttribute('aria-label', trans.__('Queues'));
    this.node.append(
      element('div', { class: 'jp-TrainJobQueues-bar' }, element('h2', {}, trans.__('Queues')), this._away),
      this._words,
      this._tree,
      this._detail
    );
    setText(this._words, trans.__('Asking the server…'));
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._sleep();
      super.dispose();
    }
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._wake();
    }
  }

  protected onBeforeDetach(message: Message): void {
    this._sleep();
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

  private _wake(): void {
    if (!this._awake) {
      const { store } = this._context;
      this._awake = true;
      store.batch.connect(this._soon, this);
      store.liveChanged.connect(this._showAway, this);
      void this._step();
    }
  }

  private _sleep(): void {
    const { store } = this._context;
    this._awake = false;
    clearTimeout(this._timer);
    store.batch.disconnect(this._soon, this);
    store.liveChanged.disconnect(this._showAway, this);
  }

  private _soon(): void {
    if (Date.now() - this._readAt > SOON_MS * 2 && this._awake) {
      this._readAt = Date.now();
      clearTimeout(this._timer);
      this._timer = setTimeout(() => void this._step(), SOON_MS);
    }
  }

  private async _step(): Promise<void> {
    await this._read();
    if (this._awake) {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => void this._step(), EVERY_MS);
    }
  }

  private async _read(): Promise<void> {
    const { client } = this._context.store;
    this._readAt = Date.now();
    try {
      this._permissions ??= (await client.me()).permissions;
      this._queues = await client.queues();
      this._chosen ||= treeOf(this._queues)[0]?.queue.metadata.name ?? '';
      const page = await client.list({ queue: this._chosen, phase: ['Queued'], limit: WAITING_SHOWN });
      this._waiting = page.items.sort(inLine);
      this._cut = false;
      setText(this._words, '');
      this._show();
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      this._cut = error.passing;
      setText(this._words, error.passing ? '' : told(error));
    }
    this._showAway();
  }

  private _showAway(): void {
    const { store, trans } = this._context;
    setText(this._away, this._cut || !store.live ? trans.__('Reconnecting…') : '');
  }

  private _show(): void {
    // what is shown is made anew; where the keyboard stood, it stands again
    const focused = this.node.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset.key
      : '';
    this._tree.replaceChildren(this._table());
    const queue = this._queues.find(one => one.metadata.name === this._chosen);
    this._detail.replaceChildren(...(queue ? [this._buttons(queue), this._line(queue)] : []));
    if (focused) {
      this.node.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  private _table(): HTMLElement {
    const { trans } = this._context;
    const rows = treeOf(this._queues).map(({ queue, depth }) => {
      const { name } = queue.metadata;
      const { spec, status } = queue;
      const open = this._button(name, `queue ${name}`, () => {
        this._chosen = name;
        void this._read();
      });
      open.setAttribute('aria-pressed', String(name === this._chosen));
      open.style.marginInlineStart = `${depth * 18}px`;
      const bars = barsOf(status.use, spec.limits).map(one => {
        const words = limitWords(one.name, trans);
        const text = one.limit
          ? trans.__('%1: %2 of %3', words, one.used, one.limit)
          : trans.__('%1: %2', words, one.used);
        const meter = element('meter', { min: '0', max: '1', high: '0.9', 'aria-label': text });
        meter.value = one.fraction ?? 0;
        meter.hidden = one.fraction === null;
        return element('span', { class: 'jp-TrainJobQueues-use' }, meter, text);
      });
      const more = [
        spec.weight !== undefined && spec.weight !== 1 ? trans.__('weight %1', spec.weight) : '',
        ...LIMITS.map(limit => {
          const value = spec.guaranteed?.[limit];
          return value === undefined || value === null
            ? ''
            : trans.__('guaranteed %1: %2', limitWords(limit, trans), String(value));
        }),
        this._budgetWords(spec),
        spec.approval ? trans.__('beyond what one may have: with approval') : '',
        spec.kueue ? trans.__('by Kueue: %1', spec.kueue.localQueue) : ''
      ];
      return element(
        'tr',
        {},
        element('th', { scope: 'row' }, open),
        element('td', {}, this._admissionWords(spec.admission)),
        element('td', {}, ...bars),
        element('td', { class: 'jp-mod-number' }, String(status.use?.queuedJobs ?? 0)),
        element('td', {}, more.filter(Boolean).join(', '))
      );
    });
    const heads = [trans.__('Queue'), trans.__('State'), trans.__('In use'), trans.__('Waiting'), trans.__('More')];
    return element(
      'table',
      {},
      element('thead', {}, element('tr', {}, ...heads.map(head => element('th', { scope: 'col' }, head)))),
      element('tbody', {}, ...rows)
    );
  }

  private _buttons(queue: IQueue): HTMLElement {
    const { trans } = this._context;
    const { name } = queue.metadata;
    const may = mayQueue(this._permissions ?? [], 'update', name);
    const { admission = 'Open' } = queue.spec;
    const set = (to: IQueue['spec']['admission']) => () => this._change(queue, spec => (spec.admission = to));
    const buttons = may
      ? [
          ...(admission === 'Open' ? [this._button(trans.__('Hold'), 'hold', set('Paused'))] : []),
          ...(admission !== 'Draining' ? [this._button(trans.__('Drain'), 'drain', set('Draining'))] : []),
          ...(admission !== 'Open' ? [this._button(trans.__('Open'), 'open', set('Open'))] : []),
          this._button(trans.__('Change a limit…'), 'limit', () => this._changeLimit(queue))
        ]
      : [];
    const description = queue.spec.description ? [element('p', {}, queue.spec.description)] : [];
    return element(
      'div',
      {},
      element('div', { class: 'jp-TrainJobQueues-bar' }, element('h3', {}, name), ...buttons),
      ...description
    );
  }

  /** Who waits, in which place, and why. */
  private _line(queue: IQueue): HTMLElement {
    const { trans, actions, commands } = this._context;
    const { name } = queue.metadata;
    if (!this._waiting.length) {
      return element('p', {}, trans.__('Nobody waits here.'));
    }
    const permissions = this._permissions ?? [];
    const rows = this._waiting.map((job, index) => {
      const { uid, name: title, namespace, owner = '' } = job.metadata;
      const may = (verb: string) => mayJob(permissions, verb, name, namespace);
      const held = isHeld(job);
      const gated = !!job.spec.schedulingGates?.length;
      const act = (verb: string, label: string, action: () => Promise<unknown>) => {
        const button = this._button(label, `${verb} ${uid}`, () => action().then(() => this._read()));
        button.setAttribute('aria-label', `${label}: ${title}`);
        return button;
      };
      const buttons = [
        ...(hasGate(job, 'approval') && may('approve')
          ? [act('approve', trans.__('Approve…'), () => actions.approve(job))]
          : []),
        ...(hasGate(job, 'approval') && may('reject')
          ? [act('reject', trans.__('Refuse…'), () => actions.reject(job))]
          : []),
        ...(may('front') && index > 0 && !gated
          ? [act('front', trans.__('To the front'), () => actions.front([job]))]
          : []),
        ...(may('update') && index > 0 && !gated
          ? [act('up', trans.__('Earlier'), () => actions.setPriority([job], this._above(index)))]
          : []),
        ...(may('hold') && !held ? [act('hold', trans.__('Hold'), () => actions.hold([job]))] : []),
        ...(may('release') && held ? [act('release', trans.__('Release'), () => actions.release([job]))] : []),
        ...(may('cancel') ? [act('cancel', trans.__('Cancel'), () => actions.cancel([job]))] : [])
      ];
      const open = this._button(title, `job ${uid}`, () => commands.execute(CommandIDs.open, { ...refOf(job) }));
      return element(
        'tr',
        {},
        element('td', { class: 'jp-mod-number' }, String(job.status.position ?? '–')),
        element('th', { scope: 'row' }, open),
        element('td', {}, owner),
        element('td', { class: 'jp-mod-number' }, String(job.spec.priority ?? 0)),
        element('td', { class: 'jp-TrainJobQueues-why' }, note(job, trans) || gateWords(job, trans)),
        element('td', {}, ...buttons)
      );
    });
    const heads = [trans.__('Place'), trans.__('Job'), trans.__('Whose'), trans.__('Priority'), trans.__('Why'), ''];
    return element(
      'div',
      {
        class: 'jp-TrainJobQueues-line',
        tabindex: '0',
        role: 'region',
        'aria-label': trans.__('Who waits in %1', name)
      },
      element(
        'table',
        {},
        element(
          'thead',
          {},
          element('tr', {}, ...heads.map(head => element(head ? 'th' : 'td', head ? { scope: 'col' } : {}, head)))
        ),
        element('tbody', {}, ...rows)
      )
    );
  }

  /** The priority that brings a job before the one above it. */
  private _above(index: number): number {
    return (this._waiting[index - 1].spec.priority ?? 0) + 1;
  }

  private async _changeLimit(queue: IQueue): Promise<void> {
    const asked = await askLimit(queue, this._context.trans);
    if (asked) {
      await this._change(queue, spec => (spec.limits = { ...spec.limits, [asked.limit]: asked.value }));
    }
  }

  /** Puts the queue back with one thing changed. Where somebody else was quicker, the newer one is shown and one is asked. */
  private async _change(queue: IQueue, change: (spec: IQueue['spec']) => void): Promise<void> {
    const { store, trans } = this._context;
    const wanted: IQueue = { ...queue, spec: { ...queue.spec } };
    change(wanted.spec);
    try {
      await store.client.replaceQueue(wanted);
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      if (error.code === 409) {
        await this._read();
        const newer = this._queues.find(one => one.metadata.name === queue.metadata.name);
        const answer = await showDialog({
          title: trans.__('Somebody else has changed %1', queue.metadata.name),
          body: [error.message, trans.__('It is shown now as it is. Change it all the same?')].join(' '),
          buttons: [
            Dialog.cancelButton({ label: trans.__('Leave it') }),
            Dialog.warnButton({ label: trans.__('Change it') })
          ]
        });
        if (answer.button.accept && newer) {
          await this._change(newer, change);
        }
        return;
      }
      Notification.error(told(error), { autoClose: false });
    }
    await this._read();
  }

  private _button(label: string, key: string, action: () => unknown): HTMLButtonElement {
    const button = element('button', { type: 'button', class: 'jp-TrainJobs-plain', 'data-key': key }, label);
    button.onclick = () => void action();
    return button;
  }

  /** What may be spent, by all and by each. */
  private _budgetWords({ budget, perUserBudget }: IQueue['spec']): string {
    const { trans } = this._context;
    const window = (seconds = 0) => span(seconds, trans);
    return [
      budget ? trans.__('%1 CPU-hours in %2', budget.coreHours, window(budget.windowSeconds)) : '',
      perUserBudget
        ? trans.__('each person %1 CPU-hours in %2', perUserBudget.coreHours, window(perUserBudget.windowSeconds))
        : ''
    ]
      .filter(Boolean)
      .join(', ');
  }

  private _admissionWords(admission: string | undefined): string {
    const { trans } = this._context;
    const words: Record<string, string> = {
      Open: trans.__('open'),
      Paused: trans.__('held: nothing starts'),
      Draining: trans.__('draining: takes nothing new')
    };
    return words[admission ?? 'Open'] ?? admission ?? '';
  }

  private _tree = element('div', { class: 'jp-TrainJobQueues-tree', role: 'region', tabindex: '0' });
  private _detail = element('div', { class: 'jp-TrainJobQueues-detail' });
  private _away = element('span', { class: 'jp-TrainJobs-away', role: 'status' });
  private _words = element('p', { class: 'jp-TrainJobs-message', role: 'status' });
  private _queues: IQueue[] = [];
  private _waiting: ITrainJob[] = [];
  private _permissions: IPermission[] | null = null;
  private _chosen = '';
  private _cut = false;
  private _awake = false;
  private _readAt = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

function inLine(one: ITrainJob, other: ITrainJob): number {
  return (one.status.position ?? Infinity) - (other.status.position ?? Infinity) || 0;
}
