import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { TrainJobClient } from './api/client';
import { NotebookOpener } from './card/notebook';
import { cardFactory } from './card/renderer';
import { memoryIn, notifyEnd } from './notices';
import { JobStore } from './store/jobs';
import { EndWatch } from './store/watch';

/** Live cards in the outputs of cells, and notices of ends. Works in JupyterLab and in Notebook 7. */
const jobs: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-trainjob:cards',
  description: 'Shows jobs live in the output of the cells that sent them, and tells when one has ended.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    rendermime: IRenderMimeRegistry,
    translator: ITranslator | null,
    state: IStateDB | null
  ) => {
    const language = translator ?? nullTranslator;
    const trans = language.load('jupyter_trainjob');
    const client = new TrainJobClient(app.serviceManager.serverSettings);
    const opener = new NotebookOpener(client, app.serviceManager.contents, app.commands, trans);
    const store = new JobStore(client); // one a page, and so one feed
    rendermime.addFactory(cardFactory({ store, opener }, language));
    new EndWatch(store, memoryIn(state)).ended.connect((_, job) => notifyEnd(job, opener, trans));
  }
};

export default [jobs];
