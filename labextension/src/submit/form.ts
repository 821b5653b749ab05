import '../../style/submit.css';

import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { ApiError } from '../api/client';
import {
  IDraft,
  IFieldProblem,
  IInspection,
  IKernel,
  IMe,
  IParameter,
  IProfile,
  IQueue,
  ITrainJob
} from '../api/types';
import { element, setText } from '../card/dom';
import { span } from '../card/words';
import { JobStore } from '../store/jobs';
import { draftOf } from './draft';
import { fieldsAt, ISchema, limitWords } from './fields';
import { ILineOptions, seconds, splitNames } from './options';
import { LineError, problemWords } from './problem';
import { FormRows } from './rows';
import { dryWords, namespaceFor } from './submit';
import { parameterValue } from './values';

/** Whether files are looked for and uploaded, or only those told that were found before. */
type Files = 'anew' | 'known';

/** A dry run follows the last key after this. */
const TYPED_MS = 700;

export interface IFormContext {
  store: JobStore;
  trans: TranslationBundle;
  source: object;
  name: string;
  /** Finds and uploads what `--files` names; null where there is nothing to name files from. */
  files: ((options: ILineOptions) => Promise<object[]>) | null;
  sent: (job: ITrainJob) => void;
}

/** The form that submits a notebook. Whatever is typed is tried at once: the server says what is wrong, or when it would run. */
export class SubmitForm extends Widget {
  constructor(private _context: IFormContext) {
    super({ node: element('form', { class: 'jp-TrainJobSubmit' }) });
    const { trans } = _context;
    const submit = element('button', { type: 'submit', class: 'jp-TrainJobs-plain jp-mod-main' }, trans.__('Submit'));
    this._submit = submit;
    this._rows = new FormRows(trans);
    submit.disabled = true; // until there is something to submit
    this._fields.append(element('p', {}, trans.__('Asking the server…')));
    this.node.append(
      this._fields,
      element('div', { class: 'jp-TrainJobSubmit-foot' }, this._outcome, this._problem, submit)
    );
    this.node.addEventListener('submit', event => {
      event.preventDefault();
      if (!submit.disabled) {
        void this._send();
      }
    });
    this.node.addEventListener('input', () => this._later());
    this.node.addEventListener('change', event => {
      const files = event.target === this._rows.rows.get('spec.inputs')?.input;
      this._later(0, files ? 'anew' : 'known');
    });
    void this._begin();
  }

  dispose(): void {
    clearTimeout(this._timer);
    super.dispose();
  }

  private async _begin(): Promise<void> {
    const { store, trans, source, name } = this._context;
    const { client } = store;
    try {
      const draft = draftOf(source, {}, name);
      await namespaceFor(store, draft);
      const [schema, me, profiles, queues, kernels, inspection] = await Promise.all([
        client.schema('TrainJob') as Promise<ISchema>,
        client.me(),
        client.profiles(),
        client.queues(),
        client.kernels(),
        client.inspect(draft)
      ]);
      this._me = me;
      this._profiles = profiles;
      this._build(schema, queues, kernels, inspection);
      this._submit.disabled = false;
      this._rows.rows.get('metadata.generateName')?.input.focus();
      await this._try();
    } catch (error) {
      this._fields.replaceChildren(
        element('p', { role: 'alert' }, trans.__('The form can’t be shown: %1', problemWords(error, trans)))
      );
    }
  }

  private _build(schema: ISchema, queues: IQueue[], kernels: IKernel[], inspection: IInspection): void {
    const { trans, name, files } = this._context;
    const wide = element('div', { class: 'jp-TrainJobSubmit-columns' });
    const names = [...new Set(kernels.map(kernel => kernel.name))];
    const shown = (kernel: string) => kernels.find(one => one.name === kernel)?.displayName ?? kernel;
    wide.append(
      this._rows.text('metadata.generateName', trans.__('Name'), '', name),
      this._rows.select('spec.environment.kernel', trans.__('Kernel'), [
        ['', trans.__('the notebook’s: %1', inspection.kernel || inspection.language || '?')],
        ...names.map((kernel): [string, string] => [kernel, shown(kernel)])
      ]),
      this._rows.select('spec.profile', trans.__('Profile'), [
        ['', trans.__('the standard one')],
        ...this._profiles.map(({ metadata, spec }): [string, string] => [
          metadata.name,
          [metadata.name, spec.description].filter(Boolean).join(' – ')
        ])
      ]),
      this._rows.select('spec.queue', trans.__('Queue'), [
        ['', trans.__('the profile’s')],
        ...queues.map((queue): [string, string] => [queue.metadata.name, queueWords(queue, trans)])
      ]),
      this._rows.text('spec.timeLimitSeconds', trans.__('Time limit'), trans.__('such as 5m or 1h30m'), '')
    );
    const resources = element('div', { class: 'jp-TrainJobSubmit-columns' });
    resources.append(...fieldsAt(schema, 'spec.resources').map(field => this._rows.field(field)));
    const more = element('div', { class: 'jp-TrainJobSubmit-columns' });
    more.append(
      this._rows.text(
        'spec.outputs.names',
        trans.__('Variables to bring back'),
        trans.__('names with commas between'),
        ''
      ),
      ...(files
        ? [this._rows.text('spec.inputs', trans.__('Files to send along'), trans.__('such as data/*.csv'), '')]
        : []),
      this._rows.select('spec.network.mode', trans.__('What it may reach'), [
        ['', trans.__('nothing')],
        ['loopback', trans.__('itself')],
        ['profile', trans.__('what its profile allows')]
      ]),
      ...fieldsAt(schema, 'spec')
        .filter(({ name: one }) => ['priority', 'seed', 'notify'].includes(one))
        .map(field => this._rows.field(field))
    );
    this._fields.replaceChildren(
      wide,
      this._group(trans.__('Parameters'), this._parameters(inspection.parameters)),
      this._group(trans.__('Resources'), resources),
      this._group(trans.__('More'), more)
    );
    this._showLimits();
  }

  private _group(title: string, content: HTMLElement): HTMLElement {
    return element('fieldset', {}, element('legend', {}, title), content);
  }

  private _parameters(parameters: IParameter[]): HTMLElement {
    const { trans } = this._context;
    if (!parameters.length) {
      return element('p', {}, trans.__('The notebook has no cell tagged “parameters”.'));
    }
    const fields = parameters.map(({ name, type, expression, help }) => {
      const hint = [type, help].filter(Boolean).join(' · ');
      return this._rows.text(`spec.parameters.${name}`, name, hint, expression);
    });
    return element('div', { class: 'jp-TrainJobSubmit-columns' }, ...fields);
  }

  /** What stands in the form, as a draft. Throws in words, with the field's path. */
  private async _draft(which: Files): Promise<IDraft> {
    const { source, name, store, trans } = this._context;
    const read = (path: string, convert: (text: string) => unknown) => {
      const text = this._rows.value(path);
      try {
        return text ? convert(text) : undefined;
      } catch (error) {
        throw new FieldError(path, problemWords(error, trans));
      }
    };
    const inputs = await this._files(which);
    const draft = draftOf(source, {}, this._rows.value('metadata.generateName') || name, { inputs });
    for (const path of this._rows.rows.keys()) {
      const parts = path.split('.');
      if (parts[0] === 'spec' && path !== 'spec.inputs') {
        const convert = this._converter(path);
        const value = read(path, convert);
        if (value !== undefined) {
          put(draft.spec, parts.slice(1), value);
        }
      }
    }
    await namespaceFor(store, draft);
    return draft;
  }

  private _converter(path: string): (text: string) => unknown {
    if (path.startsWith('spec.parameters.')) {
      return parameterValue;
    }
    if (path === 'spec.timeLimitSeconds') {
      return seconds;
    }
    if (path === 'spec.outputs.names') {
      return text => splitNames([text]);
    }
    const { input } = this._rows.rows.get(path)!;
    if (input instanceof HTMLInputElement && input.type === 'number') {
      return Number;
    }
    return input instanceof HTMLInputElement && input.type === 'checkbox' ? () => true : text => text;
  }

  /**
   * The files to send along. While somebody types, only those that were found for the same words: on the way to `*.csv`
   * stands `*`, and each dry run would upload all there is.
   */
  private async _files(which: Files): Promise<object[]> {
    const { files, trans } = this._context;
    const patterns = splitNames([this._rows.value('spec.inputs')]);
    if (!patterns.length || !files) {
      return [];
    }
    const key = patterns.join();
    if (which === 'known') {
      if (this._found?.key !== key) {
        return [];
      }
    } else {
      const inputs = files({ files: patterns });
      inputs.catch(() => undefined); // told where it is awaited
      this._found = { key, inputs };
    }
    try {
      return await this._found.inputs;
    } catch (error) {
      throw new FieldError('spec.inputs', problemWords(error, trans));
    }
  }

  private _later(ms = TYPED_MS, which: Files = 'known'): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this._try(which), ms);
  }

  private async _try(which: Files = 'known'): Promise<void> {
    const { store, trans } = this._context;
    const run = ++this._run;
    this._showLimits();
    await this._guarded(run, async () => {
      const draft = await this._draft(which);
      const job = await store.client.submit(draft.metadata.namespace!, draft, true);
      if (run === this._run) {
        this._show([], '');
        const limit = job.spec.timeLimitSeconds;
        setText(
          this._outcome,
          [dryWords(job, trans), limit ? trans.__('It may run for %1.', span(limit, trans)) : ''].join(' ')
        );
      }
    });
  }

  private async _send(): Promise<void> {
    const { store, sent } = this._context;
    clearTimeout(this._timer);
    const run = ++this._run;
    this._submit.disabled = true;
    try {
      await this._guarded(run, async () => {
        const draft = await this._draft('anew'); // as they are now
        const job = await store.client.submit(draft.metadata.namespace!, draft);
        store.accept(job);
        sent(job);
      });
    } finally {
      this._submit.disabled = false;
    }
    this.node.querySelector<HTMLElement>('[aria-invalid=true]')?.focus();
  }

  private async _guarded(run: number, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (run !== this._run) {
        return;
      }
      setText(this._outcome, '');
      if (error instanceof FieldError) {
        this._show([{ field: error.path, message: error.message }], '');
      } else if (error instanceof ApiError || error instanceof LineError) {
        const words = problemWords(error, this._context.trans);
        this._show(error instanceof ApiError ? error.details : [], words);
      } else {
        throw error;
      }
    }
  }

  /** Each problem at its field; what belongs to none, at the end. */
  private _show(problems: IFieldProblem[], message: string): void {
    const told = new Map<string, string>();
    for (const { field, message: words, remedy } of problems) {
      const path = [...this._rows.rows.keys()].find(
        one => field === one || field.startsWith(`${one}.`) || field.startsWith(`${one}[`)
      );
      if (path) {
        told.set(path, sentences([told.get(path), words, remedy]));
      } else if (!message.includes(words)) {
        message = [message, `${field}: ${words}`, remedy].filter(Boolean).join(' ');
      }
    }
    for (const [path, { input, problem }] of this._rows.rows) {
      setText(problem, told.get(path) ?? '');
      input.setAttribute('aria-invalid', String(told.has(path)));
    }
    const placed = problems.length > 0 && problems.length === told.size;
    setText(this._problem, placed ? this._context.trans.__('See the fields that are marked.') : message);
  }

  private _showLimits(): void {
    const { trans } = this._context;
    const profile = this._profiles.find(
      ({ metadata }) => metadata.name === (this._rows.value('spec.profile') || 'default')
    );
    const queue = this._rows.value('spec.queue') || profile?.spec.queue || 'default';
    for (const [path, { hint, help }] of this._rows.rows) {
      const name = /^spec\.resources\.(\w+)$/.exec(path)?.[1];
      if (name) {
        setText(hint, [help, limitWords(name, profile, this._me, queue, trans)].filter(Boolean).join(' · '));
      } else if (path === 'spec.timeLimitSeconds') {
        const { timeLimitSeconds, maxTimeLimitSeconds } = profile?.spec ?? {};
        const of = this._me?.limits.queues.find(one => one.queue === queue)?.maxTimeLimitSeconds;
        const most = Math.min(maxTimeLimitSeconds ?? Infinity, of ?? Infinity);
        const words = [
          help,
          timeLimitSeconds ? trans.__('left empty: %1', span(timeLimitSeconds, trans)) : '',
          Number.isFinite(most) ? trans.__('at most %1', span(most, trans)) : ''
        ];
        setText(hint, words.filter(Boolean).join(' · '));
      }
    }
  }

  private _fields = element('div', { class: 'jp-TrainJobSubmit-fields' });
  private _outcome = element('p', { class: 'jp-TrainJobSubmit-outcome', role: 'status' });
  private _problem = element('p', { class: 'jp-TrainJobSubmit-problem', role: 'alert' });
  private _submit: HTMLButtonElement;
  private _rows: FormRows;
  /** What was found for the patterns that stood there last. */
  private _found: { key: string; inputs: Promise<object[]> } | null = null;
  private _me: IMe | null = null;
  private _profiles: IProfile[] = [];
  private _run = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

/** What is wrong in one field, before anything is sent. */
class FieldError extends Error {
  constructor(
    readonly path: string,
    message: string
  ) {
    super(message);
  }
}

/** Sentences, each with its end: messages of fields come without one. */
function sentences(parts: (string | undefined)[]): string {
  return parts.flatMap(part => (!part ? [] : /[.!?]$/.test(part) ? part : `${part}.`)).join(' ');
}

function put(into: Record<string, unknown>, path: string[], value: unknown): void {
  const [first, ...rest] = path;
  if (rest.length) {
    put((into[first] ??= {}) as Record<string, unknown>, rest, value);
  } else {
    into[first] = value;
  }
}

function queueWords({ metadata, spec, status }: IQueue, trans: TranslationBundle): string {
  const waiting = status.use?.queuedJobs ?? 0;
  const words = waiting ? trans._n('%1 waits', '%1 wait', waiting, waiting) : '';
  return [metadata.name, spec.description, words].filter(Boolean).join(' – ');
}
