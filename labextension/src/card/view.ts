import '../../style/card.css';

import { TranslationBundle } from '@jupyterlab/translation';

import { hasNotebook, ITrainJob, isFinal, latestAttempt } from '../api/types';
import { ansiFragment } from './ansi';
import { element, setText } from './dom';
import { address, bar, duration, elapsedSeconds, needs, note, stateLine, warnings } from './words';

/** Lines of the log: at first, and when the reader asks for more. */
const FEW_LINES = 12;
const MANY_LINES = 2000;

export interface ICardButtons {
  cancel: HTMLButtonElement;
  retry: HTMLButtonElement;
  notebook: HTMLButtonElement;
  outputs: HTMLButtonElement;
  log: HTMLButtonElement;
}

/** The elements of a card and how a job fills them. Knows nothing of servers. */
export class CardView {
  constructor(
    name: string,
    private _trans: TranslationBundle
  ) {
    const trans = _trans;
    this.buttons = {
      cancel: button(trans.__('Cancel')),
      retry: button(trans.__('Run again')),
      notebook: button(trans.__('Open executed notebook')),
      outputs: button(trans.__('Outputs')),
      log: button(trans.__('Show more of the log'))
    };
    this.buttons.outputs.setAttribute('aria-expanded', 'false');
    this.buttons.log.setAttribute('aria-expanded', 'false');
    this._log.setAttribute('aria-label', trans.__('Log of %1', name));
    this._progress.setAttribute('aria-label', trans.__('Progress of %1', name));
    this.node = element(
      'section',
      { class: 'jp-TrainJobCard', role: 'group', 'aria-label': trans.__('Job %1', name) },
      element(
        'div',
        { class: 'jp-TrainJobCard-header' },
        element('span', { class: 'jp-TrainJobCard-dot', 'aria-hidden': 'true' }),
        element('span', { class: 'jp-TrainJobCard-name' }, name),
        this._state,
        this._elapsed,
        this._away
      ),
      this._note,
      this._bar,
      this._logHint,
      this._log,
      this._trace,
      this._warnings,
      element('div', { class: 'jp-TrainJobCard-buttons' }, ...this._allButtons()),
      this.outputs,
      this._needs,
      this.problem,
      this.below
    );
    this._bar.append(this._progress, this._barText);
    setText(this._state, trans.__('Asking the server…'));
    this.buttons.log.hidden = true;
    this._show(null);
  }

  readonly node: HTMLElement;
  readonly buttons: ICardButtons;
  /** Where the outputs are listed. */
  readonly outputs = element('div', { class: 'jp-TrainJobCard-outputs', hidden: '' });
  /** What went wrong with a button. */
  readonly problem = element('p', { class: 'jp-TrainJobCard-problem', role: 'alert' });
  /** Where `%trainjob` looks by itself; empty where that is not known. */
  ownNamespace = '';
  /** Above the cards of later runs of the same job. */
  readonly below = element('p', { class: 'jp-TrainJobCard-below' });

  /** Shows the job as it is. */
  update(job: ITrainJob, nowMs: number): void {
    this._show(job);
    const trans = this._trans;
    this.node.dataset.phase = job.status.phase;
    this._logCommand = `%trainjob logs ${address(job.metadata, this.ownNamespace)}`;
    setText(this._state, stateLine(job, trans));
    setText(this._note, note(job, trans));
    setText(this._needs, needs(job, trans));
    this._updateBar(job);
    this._updateTrace(job);
    const warned = warnings(job);
    if (warned.join('\n') !== this._warnings.dataset.shown) {
      this._warnings.dataset.shown = warned.join('\n');
      this._warnings.replaceChildren(...warned.map(text => element('li', {}, text)));
    }
    this.tick(job, nowMs);
  }

  /** Only the time that has passed. */
  tick(job: ITrainJob, nowMs: number): void {
    const seconds = elapsedSeconds(job, nowMs);
    setText(this._elapsed, seconds === null ? '' : duration(seconds, this._trans));
  }

  /** Instead of a job: why there is none. */
  absent(text: string): void {
    this._show(null);
    delete this.node.dataset.phase;
    setText(this._state, text);
    setText(this._elapsed, '');
  }

  /** Whether what is shown may be out of date. */
  away(text: string): void {
    setText(this._away, text);
  }

  /** The log's last lines; `cut` tells that there were more before. Stays at the end unless the reader scrolled up. */
  log(lines: string[], cut: boolean): void {
    const box = this._log;
    const shown = lines.slice(-(this.logIsLong ? MANY_LINES : FEW_LINES));
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
    box.hidden = shown.length === 0;
    box.replaceChildren(ansiFragment(shown.join('\n')));
    if (atEnd) {
      box.scrollTop = box.scrollHeight;
    }
    this.buttons.log.hidden = lines.length <= FEW_LINES;
    const more = this.logIsLong && (cut || lines.length > MANY_LINES);
    setText(
      this._logHint,
      more ? this._trans.__('Only the end is shown here: %1 prints all of it.', this._logCommand) : ''
    );
  }

  get logIsLong(): boolean {
    return this.buttons.log.getAttribute('aria-expanded') === 'true';
  }

  set logIsLong(long: boolean) {
    this.buttons.log.setAttribute('aria-expanded', String(long));
    setText(this.buttons.log, long ? this._trans.__('Show less of the log') : this._trans.__('Show more of the log'));
    this._log.classList.toggle('jp-mod-long', long);
  }

  private _allButtons(): HTMLButtonElement[] {
    const { cancel, retry, notebook, outputs, log } = this.buttons;
    return [cancel, retry, notebook, outputs, log];
  }

  private _updateBar(job: ITrainJob): void {
    const shown = bar(job, this._trans);
    this._bar.hidden = shown === null;
    if (shown === null) {
      return;
    }
    setText(this._barText, shown.text);
    if (shown.fraction === null) {
      this._progress.removeAttribute('value');
    } else {
      this._progress.value = shown.fraction;
    }
  }

  private _updateTrace(job: ITrainJob): void {
    const traceback = latestAttempt(job)?.error?.traceback ?? '';
    this._trace.hidden = !traceback;
    if (traceback && traceback !== this._shownTrace) {
      this._shownTrace = traceback;
      const text = element('pre', { tabindex: '0', 'aria-label': this._trans.__('Traceback') });
      text.append(ansiFragment(traceback));
      this._trace.replaceChildren(element('summary', {}, this._trans.__('Traceback')), text);
    }
  }

  private _show(job: ITrainJob | null): void {
    const final = job !== null && isFinal(job);
    const left = job?.status.outputs ?? {};
    this.buttons.cancel.hidden = job === null || final;
    this.buttons.cancel.disabled = !!job?.spec.cancel;
    this.buttons.retry.hidden = !final;
    this.buttons.notebook.hidden = !job || !hasNotebook(job);
    this.buttons.outputs.hidden = !left.results?.length && !left.filesTotal;
    this.buttons.log.hidden ||= job === null;
    for (const part of [this._note, this._bar, this._trace, this._needs, this._warnings]) {
      part.hidden = job === null;
    }
    this._log.hidden = job === null || this._log.textContent === '';
  }

  private _state = element('span', { class: 'jp-TrainJobCard-state', role: 'status', 'aria-live': 'polite' });
  private _elapsed = element('span', { class: 'jp-TrainJobCard-elapsed' });
  private _away = element('span', { class: 'jp-TrainJobCard-away', role: 'status' });
  private _note = element('p', { class: 'jp-TrainJobCard-note' });
  private _bar = element('div', { class: 'jp-TrainJobCard-bar' });
  private _progress = element('progress', { max: '1' });
  private _barText = element('span');
  private _log = element('pre', {
    class: 'jp-TrainJobCard-log',
    role: 'log',
    'aria-live': 'off',
    tabindex: '0',
    hidden: ''
  });
  private _logHint = element('p', { class: 'jp-TrainJobCard-hint' });
  private _logCommand = '';
  private _trace = element('details', { class: 'jp-TrainJobCard-trace', hidden: '' });
  private _warnings = element('ul', { class: 'jp-TrainJobCard-warnings' });
  private _needs = element('p', { class: 'jp-TrainJobCard-needs' });
  private _shownTrace = '';
}

function button(label: string): HTMLButtonElement {
  return element('button', { type: 'button', class: 'jp-TrainJobCard-button' }, label);
}
