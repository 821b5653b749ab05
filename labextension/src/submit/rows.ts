import { TranslationBundle } from '@jupyterlab/translation';

import { element } from '../card/dom';
import { fieldWords, IField } from './fields';

/** A field with its label, with what is said of it, and with what is wrong in it. */
export interface IFormRow {
  input: HTMLInputElement | HTMLSelectElement;
  hint: HTMLElement;
  problem: HTMLElement;
  help: string;
}

/** The fields of a form, by the paths that the server names them by. */
export class FormRows {
  constructor(private _trans: TranslationBundle) {}

  readonly rows = new Map<string, IFormRow>();

  /** A field of the schema. */
  field({ path, name, kind, help, minimum, maximum }: IField): HTMLElement {
    const attributes: Record<string, string> = {
      type: kind === 'number' ? 'number' : kind === 'switch' ? 'checkbox' : 'text'
    };
    if (minimum !== undefined) {
      attributes.min = String(minimum);
    }
    if (maximum !== undefined) {
      attributes.max = String(maximum);
    }
    return this._row(path, fieldWords(name, this._trans), help, element('input', attributes));
  }

  text(path: string, label: string, help: string, placeholder: string): HTMLElement {
    return this._row(path, label, help, element('input', { type: 'text', placeholder, spellcheck: 'false' }));
  }

  select(path: string, label: string, options: [string, string][]): HTMLElement {
    const select = element('select', {}, ...options.map(([value, words]) => element('option', { value }, words)));
    return this._row(path, label, '', select);
  }

  /** What stands in a field; empty where nothing does, and where there is no such field. */
  value(path: string): string {
    const input = this.rows.get(path)?.input;
    if (input instanceof HTMLInputElement && input.type === 'checkbox') {
      return input.checked ? 'true' : '';
    }
    return input?.value.trim() ?? '';
  }

  private _row(path: string, label: string, help: string, input: HTMLInputElement | HTMLSelectElement): HTMLElement {
    const id = `jp-TrainJobSubmit-${path}`;
    const hint = element('span', { class: 'jp-TrainJobSubmit-hint', id: `${id}-hint` }, help);
    const problem = element('span', { class: 'jp-TrainJobSubmit-problem', id: `${id}-problem` });
    input.id = id;
    input.setAttribute('aria-describedby', `${hint.id} ${problem.id}`);
    this.rows.set(path, { input, hint, problem, help });
    return element(
      'div',
      { class: 'jp-TrainJobSubmit-row' },
      element('label', { for: id }, label),
      input,
      hint,
      problem
    );
  }
}
