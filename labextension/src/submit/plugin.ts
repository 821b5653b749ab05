import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { isCodeCellModel } from '@jupyterlab/cells';
import { INotebookTracker } from '@jupyterlab/notebook';

import { ApiError, told } from '../api/client';
import { ITrainJob, refOf } from '../api/types';
import { CommandIDs } from '../commands';
import { jobsIcon } from '../icons';
import { IJobs } from '../plugins';
import { cellToSend } from './target';

/** Submitting without magics: the open notebook by a form, a cell by a menu, a button or keys. */
export const submitPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-trainjob:submit',
  description: 'Submits notebooks and cells as jobs, from the toolbar, the menu of a cell, and by keys.',
  autoStart: true,
  requires: [IJobs, INotebookTracker],
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, jobs: IJobs, notebooks: INotebookTracker, palette: ICommandPalette | null) => {
    const { commands } = app;
    const { store, client, trans } = jobs;
    const { contents } = app.serviceManager;
    const args = { describedBy: { args: { type: 'object', properties: {} } } };
    const changed = () =>
      [CommandIDs.submitForm, CommandIDs.submitCell].forEach(id => commands.notifyCommandChanged(id));
    notebooks.currentChanged.connect(changed);
    notebooks.activeCellChanged.connect(changed);

    commands.addCommand(CommandIDs.submitForm, {
      label: trans.__('Submit the notebook as a job…'),
      caption: trans.__('Submit the notebook as a job'),
      icon: jobsIcon,
      ...args,
      isEnabled: () => notebooks.currentWidget !== null,
      execute: async () => {
        const panel = notebooks.currentWidget;
        if (!panel?.model) {
          Notification.info(trans.__('Open a notebook first: the form submits the one that is open.'), {
            autoClose: 10_000
          });
          return;
        }
        const [{ SubmitForm }, { FormDialog }, { notebookSource }, { collect }] = await Promise.all([
          import('./form'),
          import('./dialog'),
          import('./submit'),
          import('./collect')
        ]);
        try {
          const found = await notebookSource(panel, store);
          const folder = PathExt.dirname(panel.context.path);
          const sent = (job: ITrainJob) => {
            dialog.resolve();
            Notification.success(trans.__('%1 is sent.', job.metadata.name), {
              autoClose: 10_000,
              actions: [
                { label: trans.__('Show'), callback: () => void commands.execute(CommandIDs.open, { ...refOf(job) }) }
              ]
            });
          };
          const files = async (options: object) =>
            (await collect(options as never, folder, contents, client)).inputs ?? [];
          const body = new SubmitForm({ store, trans, ...found, files, sent });
          const title = trans.__('Submit %1', PathExt.basename(panel.context.path));
          const dialog = new FormDialog(title, body, trans.__('Close'));
          await dialog.launch();
        } catch (error) {
          if (!(error instanceof ApiError)) {
            throw error;
          }
          Notification.error(told(error), { autoClose: false });
        }
      }
    });
    commands.addCommand(CommandIDs.submitCell, {
      label: trans.__('Submit the cell as a job'),
      caption: trans.__('Submit the cell as a job; a first line %1 may hold options', '%%trainjob'),
      icon: jobsIcon,
      describedBy: { args: { type: 'object', properties: { cellId: { type: 'string' }, path: { type: 'string' } } } },
      isEnabled: () => !!notebooks.activeCell && isCodeCellModel(notebooks.activeCell.model),
      execute: async given => {
        const found = cellToSend(notebooks, given);
        if (!found) {
          Notification.error(trans.__('The cell to send is in no notebook that is open: nothing was sent.'), {
            autoClose: false
          });
          return false;
        }
        const { submitCell, whereOf } = await import('./submit');
        return submitCell(found.model, whereOf(found.panel), { store, contents, trans });
      }
    });
    for (const command of [CommandIDs.submitForm, CommandIDs.submitCell]) {
      palette?.addItem({ command, category: trans.__('Jobs') });
    }
  }
};
