import { Dialog, showDialog } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { Contents, ServerConnection } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { ApiError, TrainJobClient } from '../api/client';
import { IJobRef } from '../api/types';

/** Opens executed notebooks: as copies among the user's files, and untrusted. */
export class NotebookOpener {
  constructor(
    private _client: TrainJobClient,
    private _contents: Contents.IManager,
    private _commands: CommandRegistry,
    private _trans: TranslationBundle
  ) {}

  /** Saves the job's executed notebook into `folder` and opens it. Asks before it replaces an earlier copy. */
  async open(ref: IJobRef, folder: string): Promise<void> {
    const path = PathExt.join(folder, `${ref.name}.ipynb`);
    const content = untrusted(await this._fetch(ref));
    if (!(await this._exists(path)) || (await this._mayReplace(path))) {
      await this._contents.save(path, { type: 'notebook', format: 'json', content });
    }
    await this._commands.execute('docmanager:open', { path });
  }

  private async _fetch(ref: IJobRef): ReturnType<TrainJobClient['notebook']> {
    try {
      return await this._client.notebook(ref);
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) {
        // the server's remedy is for those who speak its API
        throw new Error(this._trans.__('%1 has no executed notebook: it is saved after each cell.', ref.name));
      }
      throw error;
    }
  }

  private async _exists(path: string): Promise<boolean> {
    try {
      await this._contents.get(path, { content: false });
      return true;
    } catch (error) {
      if (error instanceof ServerConnection.ResponseError && error.response.status === 404) {
        return false;
      }
      throw error;
    }
  }

  private async _mayReplace(path: string): Promise<boolean> {
    const trans = this._trans;
    const answer = await showDialog({
      title: trans.__('There is a copy already'),
      body: trans.__('%1 exists. Replace it with the notebook as the job left it?', path),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Open the old copy') }),
        Dialog.okButton({ label: trans.__('Replace') })
      ]
    });
    return answer.button.accept;
  }
}

/** What ran elsewhere says of its own outputs that they are safe; that is for the reader to decide. */
function untrusted<T extends { cells: { metadata?: Record<string, unknown> }[] }>(notebook: T): T {
  for (const cell of notebook.cells) {
    delete cell.metadata?.trusted;
  }
  return notebook;
}
