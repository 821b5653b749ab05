import { LabIcon, stopIcon, notebookIcon, downloadIcon, refreshIcon, listIcon } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';

import { hasNotebook, isFinal, ITrainJob } from '../api/types';
import { element, setText } from '../card/dom';
import { bar, needs } from '../card/words';
import { IGroupRow, isGroup, Row } from '../store/groups';
import { drawSpark, ISpark, shortNumber, sparkline } from './spark';
import { detail, groupWords, when } from './words';

const HEADING_PX = 26;
const ROW_PX = 46;
const RUNNING_PX = 62;

/** What a row's buttons do. */
export type RowAction = 'log' | 'cancel' | 'retry' | 'notebook' | 'download';

/** What rows show that is not the job's own. */
export interface IRowState {
  nowMs: () => number;
  spark: (uid: string) => ISpark | undefined;
  selected: (uid: string) => boolean;
  active: (index: number) => boolean;
  /** Of all rows, for those who don't see them. */
  owners: () => boolean;
}

export function rowHeight(row: Row): number {
  return isGroup(row) ? HEADING_PX : row.status.phase === 'Running' ? RUNNING_PX : ROW_PX;
}

/** The elements of a row, made once and filled for one job after another. */
interface IParts {
  row: HTMLElement;
  caret: HTMLElement;
  name: HTMLElement;
  owner: HTMLElement;
  time: HTMLElement;
  detail: HTMLElement;
  progress: HTMLProgressElement;
  spark: SVGSVGElement;
  metric: HTMLElement;
  course: HTMLElement;
  actions: Record<RowAction, HTMLButtonElement>;
}

/** Makes and fills the rows of the list. */
export class RowView {
  constructor(
    private _trans: TranslationBundle,
    private _state: IRowState,
    private _id: string
  ) {}

  make(): HTMLElement {
    const trans = this._trans;
    const actions = {
      log: this._button('log', listIcon, trans.__('Show the log')),
      cancel: this._button('cancel', stopIcon, trans.__('Cancel')),
      retry: this._button('retry', refreshIcon, trans.__('Run again')),
      notebook: this._button('notebook', notebookIcon, trans.__('Open executed notebook')),
      download: this._button('download', downloadIcon, trans.__('Download outputs'))
    };
    const parts: IParts = {
      row: element('div', { class: 'jp-TrainJobRow', role: 'row' }),
      caret: element('span', { class: 'jp-TrainJobRow-dot', 'aria-hidden': 'true' }),
      name: element('span', { class: 'jp-TrainJobRow-name' }),
      owner: element('span', { class: 'jp-TrainJobRow-owner' }),
      time: element('span', { class: 'jp-TrainJobRow-time' }),
      detail: element('div', { class: 'jp-TrainJobRow-detail' }),
      progress: element('progress', { max: '1' }),
      spark: sparkline(),
      metric: element('span', { class: 'jp-TrainJobRow-metric' }),
      course: element('div', { class: 'jp-TrainJobRow-course' }),
      actions
    };
    parts.course.append(parts.progress, parts.spark, parts.metric);
    const heading = element('div', { class: 'jp-TrainJobRow-head' }, parts.caret, parts.name, parts.owner, parts.time);
    parts.row.append(
      element('div', { class: 'jp-TrainJobRow-cell', role: 'gridcell' }, heading, parts.detail, parts.course),
      element('div', { class: 'jp-TrainJobRow-actions', role: 'gridcell' }, ...Object.values(actions))
    );
    this._parts.set(parts.row, parts);
    return parts.row;
  }

  fill(node: HTMLElement, row: Row, index: number): void {
    const parts = this._parts.get(node);
    if (!parts) {
      return;
    }
    node.id = `${this._id}-${index}`;
    node.setAttribute('aria-rowindex', String(index + 1));
    node.classList.toggle('jp-mod-active', this._state.active(index));
    const group = isGroup(row);
    node.classList.toggle('jp-mod-heading', group);
    node.setAttribute('aria-level', group ? '1' : '2');
    if (group) {
      this._fillHeading(parts, row);
    } else {
      this._fillJob(parts, row);
    }
  }

  /** Only what moves by itself: the time that has passed. */
  tick(node: HTMLElement, row: Row): void {
    const parts = this._parts.get(node);
    if (parts && !isGroup(row) && !isFinal(row)) {
      const now = this._state.nowMs();
      setText(parts.time, when(row, this._trans, now));
      setText(parts.detail, detail(row, this._trans, now));
      this._fillSpark(parts, row);
    }
  }

  private _fillHeading(parts: IParts, { group, count, open }: IGroupRow): void {
    const { row } = parts;
    delete row.dataset.phase;
    row.setAttribute('aria-expanded', String(open));
    row.removeAttribute('aria-selected');
    row.classList.remove('jp-mod-selected');
    setText(parts.name, groupWords(group, this._trans));
    setText(parts.time, count.toLocaleString());
    for (const part of [parts.detail, parts.owner]) {
      setText(part, '');
    }
    parts.course.hidden = true;
    Object.values(parts.actions).forEach(button => (button.hidden = true));
  }

  private _fillJob(parts: IParts, job: ITrainJob): void {
    const { row, actions } = parts;
    const now = this._state.nowMs();
    const { name, uid, owner = '' } = job.metadata;
    const chosen = this._state.selected(uid);
    row.dataset.phase = job.status.phase;
    row.removeAttribute('aria-expanded');
    row.setAttribute('aria-selected', String(chosen));
    row.classList.toggle('jp-mod-selected', chosen);
    setText(parts.name, name);
    setText(parts.owner, this._state.owners() ? owner : '');
    setText(parts.time, when(job, this._trans, now));
    const words = detail(job, this._trans, now);
    setText(parts.detail, words);
    parts.detail.title = words;
    const shown = bar(job, this._trans);
    parts.course.hidden = shown === null;
    if (shown) {
      parts.progress.hidden = shown.fraction === null;
      parts.progress.value = shown.fraction ?? 0;
      parts.progress.setAttribute('aria-label', this._trans.__('Progress of %1', name));
      this._fillSpark(parts, job);
    }
    const final = isFinal(job);
    actions.log.hidden = false;
    actions.cancel.hidden = final || !!job.spec.cancel;
    actions.retry.hidden = !final;
    actions.notebook.hidden = !hasNotebook(job);
    const left = job.status.outputs;
    actions.download.hidden = !left || !(left.notebook || left.results?.length || left.filesTotal);
  }

  private _fillSpark(parts: IParts, job: ITrainJob): void {
    const spark = this._state.spark(job.metadata.uid);
    parts.spark.classList.toggle('jp-mod-empty', !spark);
    const told = spark ? `${spark.name} ${shortNumber(spark.last, 3)}` : '';
    setText(parts.metric, told || (parts.progress.hidden ? needs(job, this._trans) : ''));
    parts.metric.title = parts.metric.textContent ?? '';
    if (spark) {
      drawSpark(parts.spark, spark);
    }
  }

  /** Reached by the pointer here, by the keyboard in the row's menu. */
  private _button(action: RowAction, icon: LabIcon, label: string): HTMLButtonElement {
    const attributes = { type: 'button', tabindex: '-1', title: label, 'aria-label': label, 'data-action': action };
    const button = element('button', { ...attributes, class: 'jp-TrainJobRow-button' });
    icon.element({ container: button, width: '14px', height: '14px' });
    return button;
  }

  private _parts = new WeakMap<HTMLElement, IParts>();
}
