import { ICell, ICodeCell, INotebookContent, isCode, isError, isStream } from '@jupyterlab/nbformat';
import { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { ApiError, told, TrainJobClient } from '../api/client';
import { IJobRef, isFinal, ITrainJob } from '../api/types';
import { ansiFragment } from '../card/ansi';
import { element, setText } from '../card/dom';

const AT_MOST_EVERY_MS = 2_000;
/** After a failure that may pass. */
const AGAIN_MS = 4_000;
/** Of a cell's text so much is shown; the executed notebook has all. */
const TEXT = 20_000;

type State = 'done' | 'failed' | 'running' | 'waiting';

/** What has become of a notebook's cells, pure: from what is saved and how far the job says it is. */
export function cellStates(cells: ICell[], job: ITrainJob): State[] {
  const { cellsDone = 0, cellId } = job.status.progress ?? {};
  const over = isFinal(job);
  let number = 0;
  return cells.map(cell => {
    if (!isCode(cell)) {
      return 'done';
    }
    number += 1;
    const failed = cell.outputs.some(output => output.output_type === 'error');
    if (failed) {
      return 'failed';
    }
    if (over) {
      return cell.execution_count ? 'done' : 'waiting';
    }
    const now = cellId ? cell.id === cellId : number === cellsDone + 1;
    return now ? 'running' : number <= cellsDone ? 'done' : 'waiting';
  });
}

/** The executed notebook as far as it is, cell by cell. */
export class CellsView {
  constructor(
    private _ref: IJobRef,
    private _client: TrainJobClient,
    private _rendermime: IRenderMimeRegistry,
    private _trans: TranslationBundle
  ) {
    this.node.append(this._words, this._list);
  }

  readonly node = element('div', { class: 'jp-TrainJobCells' });

  /** Shows the job as it is now; reads the notebook again where it has gone on. */
  update(job: ITrainJob): void {
    const { cellsDone = 0 } = job.status.progress ?? {};
    const key = `${job.status.attempts?.length ?? 0} ${isFinal(job) ? 'end' : cellsDone}`;
    this._job = job;
    if (key !== this._key) {
      this._key = key;
      clearTimeout(this._timer);
      const wait = Math.max(0, this._readAt + AT_MOST_EVERY_MS - Date.now());
      this._timer = setTimeout(() => void this._read(), wait);
    } else {
      this._mark();
    }
  }

  dispose(): void {
    this._run += 1;
    clearTimeout(this._timer);
    drop(this._renderers);
    this._renderers = [];
  }

  private async _read(): Promise<void> {
    const run = ++this._run; // of several on their way, only the last is shown
    this._readAt = Date.now();
    try {
      const notebook = (await this._client.notebook(this._ref)) as INotebookContent;
      await this._show(run, notebook.cells);
    } catch (error) {
      if (run !== this._run) {
        return;
      }
      const none = error instanceof ApiError && error.code === 404;
      setText(this._words, none ? this._trans.__('It is saved after each cell; none is done yet.') : told(error));
      if (error instanceof ApiError && error.retryable) {
        this._timer = setTimeout(() => void this._read(), AGAIN_MS);
      }
    }
  }

  private async _show(run: number, cells: ICell[]): Promise<void> {
    const renderers: Widget[] = [];
    const items: HTMLElement[] = [];
    try {
      for (const cell of cells) {
        items.push(await this._item(cell, renderers));
        if (run !== this._run) {
          break;
        }
      }
    } finally {
      if (run !== this._run || items.length < cells.length) {
        drop(renderers); // nobody shows them
      }
    }
    if (run !== this._run) {
      return;
    }
    drop(this._renderers);
    this._renderers = renderers;
    this._cells = cells; // with the rows that are theirs: marks go by number
    this._list.replaceChildren(...items);
    setText(this._words, '');
    this._mark();
  }

  private async _item(cell: ICell, renderers: Widget[]): Promise<HTMLElement> {
    const source = Array.isArray(cell.source) ? cell.source.join('') : cell.source;
    const item = element('li', { class: 'jp-TrainJobCells-cell' });
    if (isCode(cell)) {
      const code = element('pre', { class: 'jp-TrainJobCells-source', tabindex: '0' }, source.slice(0, TEXT));
      item.append(element('span', { class: 'jp-TrainJobCells-mark' }), code);
      item.append(...(await this._outputs(cell, renderers)));
    } else {
      const mime = cell.cell_type === 'markdown' ? 'text/markdown' : 'text/plain';
      item.append(await this._rendered({ [mime]: source }, renderers));
    }
    return item;
  }

  private async _outputs(cell: ICodeCell, renderers: Widget[]): Promise<HTMLElement[]> {
    const shown: HTMLElement[] = [];
    for (const output of cell.outputs) {
      const pre = element('pre', { class: 'jp-TrainJobCells-text', tabindex: '0' });
      if (isStream(output)) {
        const text = Array.isArray(output.text) ? output.text.join('') : output.text;
        pre.append(ansiFragment(text.slice(-TEXT)));
        shown.push(pre);
      } else if (isError(output)) {
        pre.append(ansiFragment(output.traceback.join('\n').slice(-TEXT) || `${output.ename}: ${output.evalue}`));
        shown.push(pre);
      } else if (output.data) {
        shown.push(await this._rendered(output.data as Record<string, unknown>, renderers));
      }
    }
    return shown;
  }

  private async _rendered(bundle: Record<string, unknown>, renderers: Widget[]): Promise<HTMLElement> {
    const data: Record<string, unknown> = {};
    for (const [mime, value] of Object.entries(bundle)) {
      data[mime] = Array.isArray(value) && !mime.endsWith('json') ? value.join('') : value;
    }
    const mime = this._rendermime.preferredMimeType(data as never, 'ensure'); // 'ensure': only what is safe untrusted
    const node = element('div', { class: 'jp-TrainJobCells-output' });
    if (mime) {
      const renderer = this._rendermime.createRenderer(mime);
      renderers.push(renderer);
      await renderer.renderModel(new MimeModel({ data: data as never, trusted: false }));
      node.append(renderer.node);
    }
    return node;
  }

  private _mark(): void {
    if (!this._job) {
      return;
    }
    const trans = this._trans;
    const words: Record<State, string> = {
      done: trans.__('done'),
      failed: trans.__('failed'),
      running: trans.__('running'),
      waiting: trans.__('not run')
    };
    cellStates(this._cells, this._job).forEach((state, index) => {
      const item = this._list.children[index] as HTMLElement;
      item.dataset.state = state;
      const mark = item.querySelector<HTMLElement>('.jp-TrainJobCells-mark');
      if (mark) {
        setText(mark, words[state]);
      }
    });
  }

  private _words = element('p', { class: 'jp-TrainJobs-message', role: 'status' });
  private _list = element('ol', { class: 'jp-TrainJobCells-list' });
  private _job: ITrainJob | null = null;
  private _cells: ICell[] = [];
  private _renderers: Widget[] = [];
  private _key = '';
  private _run = 0;
  private _readAt = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

function drop(renderers: Widget[]): void {
  renderers.forEach(renderer => renderer.dispose());
}
