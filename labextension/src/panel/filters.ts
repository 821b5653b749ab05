import { TranslationBundle } from '@jupyterlab/translation';
import { ISignal, Signal } from '@lumino/signaling';

import { element } from '../card/dom';
import { EVERYTHING, Group, GROUPS, IFilter, sameFilter } from '../store/groups';
import { groupWords } from './words';

/** A filter with the name that its owner gave it. */
export interface ISavedFilter extends Partial<IFilter> {
  name: string;
}

/** The form of a filter. It keeps none: whoever listens does. */
export class FilterForm {
  constructor(private _trans: TranslationBundle) {
    const trans = _trans;
    this._text = element('input', {
      type: 'search',
      placeholder: trans.__('Find jobs'),
      'aria-label': trans.__('Find jobs')
    });
    this._label = element('input', { type: 'text', placeholder: trans.__('name=value') });
    this._queue = element('select', {});
    this._hours = element('select', {});
    this._saved = element('select', {});
    const times: [string, string][] = [
      ['0', trans.__('any time')],
      ['1', trans.__('last hour')],
      ['24', trans.__('last day')],
      ['168', trans.__('last week')]
    ];
    this._hours.append(...times.map(([value, words]) => element('option', { value }, words)));
    this._boxes = GROUPS.map(group => {
      const box = element('input', { type: 'checkbox', value: group });
      this._states.append(element('label', { class: 'jp-TrainJobFilter-state' }, box, groupWords(group, trans)));
      return box;
    });
    this._save = element('button', { type: 'button', class: 'jp-TrainJobs-plain' }, trans.__('Save…'));
    this._forget = element('button', { type: 'button', class: 'jp-TrainJobs-plain' }, trans.__('Forget'));
    const clear = element('button', { type: 'button', class: 'jp-TrainJobs-plain' }, trans.__('Clear'));
    this.more.append(
      this._states,
      field(trans.__('Queue'), this._queue),
      field(trans.__('Label'), this._label),
      field(trans.__('Made'), this._hours),
      field(trans.__('Saved'), this._saved),
      element('div', { class: 'jp-TrainJobFilter-buttons' }, this._save, this._forget, clear)
    );
    this.search = this._text;
    for (const input of [this._text, this._label]) {
      input.addEventListener('input', () => this._tell());
    }
    for (const input of [this._queue, this._hours, ...this._boxes]) {
      input.addEventListener('change', () => this._tell());
    }
    this._saved.onchange = () => this._apply(this._saved.value);
    this._save.onclick = () => this._wanted.emit({ verb: 'save', name: '' });
    this._forget.onclick = () => this._wanted.emit({ verb: 'forget', name: this._saved.value });
    clear.onclick = () => {
      this.value = EVERYTHING;
      this._tell();
    };
    this.setQueues([]);
    this.setSaved([]);
  }

  /** The line that is always there. */
  readonly search: HTMLInputElement;
  /** What is behind it. */
  readonly more = element('div', { class: 'jp-TrainJobFilter', hidden: '' });

  get changed(): ISignal<this, IFilter> {
    return this._changed;
  }

  /** The filter shall be kept under a name, or a kept one forgotten. */
  get wanted(): ISignal<this, { verb: 'save' | 'forget'; name: string }> {
    return this._wanted;
  }

  get value(): IFilter {
    return {
      text: this._text.value,
      label: this._label.value,
      queue: this._queue.value,
      hours: Number(this._hours.value),
      groups: this._boxes.filter(box => box.checked).map(box => box.value as Group)
    };
  }

  set value(filter: IFilter) {
    this._text.value = filter.text;
    this._label.value = filter.label;
    this._queue.value = filter.queue;
    this._hours.value = String(filter.hours);
    for (const box of this._boxes) {
      box.checked = filter.groups.includes(box.value as Group);
    }
    this._showSaved();
  }

  setQueues(names: string[]): void {
    const chosen = this._queue.value;
    const all = element('option', { value: '' }, this._trans.__('all'));
    this._queue.replaceChildren(all, ...names.map(name => element('option', { value: name }, name)));
    this._queue.value = names.includes(chosen) ? chosen : '';
  }

  setSaved(saved: ISavedFilter[]): void {
    this._kept = saved;
    const none = element('option', { value: '' }, '–');
    this._saved.replaceChildren(none, ...saved.map(({ name }) => element('option', { value: name }, name)));
    this._showSaved();
  }

  private _apply(name: string): void {
    const found = this._kept.find(filter => filter.name === name);
    this.value = found ? filterOf(found) : EVERYTHING;
    this._tell();
  }

  private _tell(): void {
    this._showSaved();
    this._changed.emit(this.value);
  }

  private _showSaved(): void {
    const value = this.value;
    const found = this._kept.find(filter => sameFilter(filterOf(filter), value));
    this._saved.value = found?.name ?? '';
    this._forget.disabled = !found;
    this._save.disabled = !!found || sameFilter(value, EVERYTHING);
  }

  private _text: HTMLInputElement;
  private _label: HTMLInputElement;
  private _queue: HTMLSelectElement;
  private _hours: HTMLSelectElement;
  private _saved: HTMLSelectElement;
  private _save: HTMLButtonElement;
  private _forget: HTMLButtonElement;
  private _boxes: HTMLInputElement[];
  private _states = element('div', { class: 'jp-TrainJobFilter-states' });
  private _kept: ISavedFilter[] = [];
  private _changed = new Signal<this, IFilter>(this);
  private _wanted = new Signal<this, { verb: 'save' | 'forget'; name: string }>(this);
}

function field(words: string, input: HTMLElement): HTMLElement {
  return element('label', { class: 'jp-TrainJobFilter-field' }, element('span', {}, words), input);
}

/** What was saved, perhaps by another version of us, as a filter. */
export function filterOf(saved: Partial<IFilter>): IFilter {
  const { text, queue, label, groups, hours } = { ...EVERYTHING, ...saved };
  return { text, queue, label, groups, hours };
}
