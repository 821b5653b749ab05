import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { isCodeCellModel } from '@jupyterlab/cells';
import { INotebookCellExecutor, runCell } from '@jupyterlab/notebook';

/** The command of jupyter_trainjob that sends a cell; it says itself what went wrong. */
const SUBMIT = 'trainjob:submit-cell';
const MAGIC = /^\s*%%trainjob(?=\s|$)/;

/**
 * Lab's own way to run a cell, but for cells that begin with `%%trainjob` where no kernel could understand that.
 *
 * Lab has room for one such provider. So this is an extension of its own: it takes the place of Lab's, and where it is removed
 * or disabled, Lab's is back.
 */
class JobExecutor implements INotebookCellExecutor {
  constructor(private _app: JupyterFrontEnd) {}

  async runCell(options: INotebookCellExecutor.IRunCellOptions): Promise<boolean> {
    if (!isForUs(options) || !this._app.commands.hasCommand(SUBMIT)) {
      return runCell(options);
    }
    const { cell, sessionContext, onCellExecutionScheduled, onCellExecuted } = options;
    onCellExecutionScheduled({ cell });
    let success = false;
    try {
      // its notebook need not be the one that is looked at: that of an earlier "Run All" goes on behind it
      const where = sessionContext ? { path: sessionContext.path } : {};
      success = Boolean(await this._app.commands.execute(SUBMIT, { cellId: cell.model.id, ...where }));
    } finally {
      onCellExecuted({ cell, success }); // else the cell says for ever that it runs
    }
    return success;
  }
}

/** A cell of ours in a notebook of a language without IPython's magics. In Python the kernel has the magic, which knows more. */
function isForUs({ cell, notebook, sessionContext }: INotebookCellExecutor.IRunCellOptions): boolean {
  if (!isCodeCellModel(cell.model) || !MAGIC.test(cell.model.sharedModel.getSource())) {
    return false;
  }
  const info = notebook.getMetadata('language_info') as { name?: string } | undefined;
  const spec = notebook.getMetadata('kernelspec') as { name?: string; language?: string } | undefined;
  const kernel = sessionContext?.session?.kernel?.name ?? spec?.name ?? '';
  const language = info?.name ?? spec?.language ?? kernel;
  return !/python|^$/i.test(language);
}

let ours: INotebookCellExecutor | null = null;

const executor: JupyterFrontEndPlugin<INotebookCellExecutor> = {
  id: 'jupyter-trainjob-executor:executor',
  description: 'Sends %%trainjob cells of R and Scala notebooks as jobs when they are run; runs all others as ever.',
  autoStart: true,
  provides: INotebookCellExecutor,
  activate: (app: JupyterFrontEnd) => (ours = new JobExecutor(app))
};

/** Tells where somebody else's provider was taken: then the menu of a cell, its button and its keys still send it. */
const check: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-trainjob-executor:check',
  description: 'Says in the log where another extension runs the cells.',
  autoStart: true,
  optional: [INotebookCellExecutor],
  activate: (_: JupyterFrontEnd, taken: INotebookCellExecutor | null) => {
    if (taken !== ours) {
      console.warn(
        'jupyter-trainjob: another extension runs the cells; %%trainjob cells of R and Scala are sent from the menu of a cell.'
      );
    }
  }
};

export default [executor, check];
