import { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { told, TrainJobClient } from '../api/client';
import { IJobRef } from '../api/types';
import { element, setText } from '../card/dom';
import { outputsList } from '../card/outputs';
import { bytes } from '../card/words';
import { bundleData, previewOf } from './preview';

/** What a job left: results, files with a look at them, and all in one archive. */
export class FilesView {
  constructor(
    private _ref: IJobRef,
    private _client: TrainJobClient,
    private _rendermime: IRenderMimeRegistry,
    private _trans: TranslationBundle
  ) {
    this.node.append(this._words, this._list, this._shown);
  }

  readonly node = element('div', { class: 'jp-TrainJobFiles' });

  /** Reads the list anew. */
  async read(): Promise<void> {
    const trans = this._trans;
    try {
      const [outputs, own] = await Promise.all([this._client.outputs(this._ref), this._client.ownNamespace()]);
      const none = !outputs.notebook && !outputs.results.length && !outputs.filesTotal;
      const notebookAlone = outputs.notebook && !outputs.results.length && !outputs.filesTotal;
      const few = notebookAlone ? trans.__('There is the executed notebook, and no files or variables beside it.') : '';
      setText(this._words, none ? trans.__('It has left nothing yet.') : few);
      const rest = { ...outputs, files: [], filesTotal: outputs.filesTotal - outputs.files.length };
      const archive = element(
        'a',
        { href: this._client.archiveUrl(this._ref), download: '' },
        trans.__('All in one archive')
      );
      const files = outputs.files.map(file => {
        const name = file.path.split('/').pop() ?? file.path;
        const link = element('a', { href: this._client.fileUrl(this._ref, file.path), download: name }, file.path);
        const item = element('li', {}, link, ` — ${bytes(file.size)} `);
        if (previewOf(file.path, file.size)) {
          const look = element('button', { type: 'button', class: 'jp-TrainJobs-plain' }, trans.__('Look'));
          look.setAttribute('aria-label', trans.__('Look at %1', file.path));
          look.onclick = () => void this._look(file.path, file.size);
          item.append(look);
        }
        return item;
      });
      this._list.replaceChildren(
        ...(none ? [] : [element('p', {}, archive)]),
        outputsList(this._ref, rest, this._client, trans, own),
        element('ul', {}, ...files)
      );
    } catch (error) {
      setText(this._words, told(error));
    }
  }

  dispose(): void {
    this._renderer?.dispose();
  }

  private async _look(path: string, size: number): Promise<void> {
    const preview = previewOf(path, size);
    if (!preview) {
      return;
    }
    try {
      const data = bundleData(preview, await this._client.file(this._ref, path, Math.max(1, size)));
      const mime = preview.mime.endsWith('json') && typeof data === 'string' ? 'text/plain' : preview.mime;
      this._renderer?.dispose();
      // not trusted: whatever a job wrote runs nothing here
      const renderer = this._rendermime.createRenderer(mime);
      await renderer.renderModel(new MimeModel({ data: { [mime]: data as never }, trusted: false }));
      this._renderer = renderer;
      this._shown.replaceChildren(element('h3', {}, path));
      Widget.attach(renderer, this._shown);
    } catch (error) {
      this._shown.replaceChildren(element('p', { class: 'jp-TrainJobCard-problem', role: 'alert' }, told(error)));
    }
  }

  private _words = element('p', { class: 'jp-TrainJobs-message', role: 'status' });
  private _list = element('div', { class: 'jp-TrainJobFiles-list' });
  private _shown = element('div', { class: 'jp-TrainJobFiles-shown' });
  private _renderer: Widget | null = null;
}
