import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { TrainJobClient } from './api/client';
import { NotebookOpener } from './card/notebook';
import { cardFactory } from './card/renderer';
import { JobStore } from './store/jobs';

/** Live cards in the outputs of cells. Works in JupyterLab and in Notebook 7. */
const cards: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-trainjob:cards',
  description: 'Shows jobs live in the output of the cells that sent them.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, rendermime: IRenderMimeRegistry, translator: ITranslator | null) => {
    const language = translator ?? nullTranslator;
    const client = new TrainJobClient(app.serviceManager.serverSettings);
    const opener = new NotebookOpener(
      client,
      app.serviceManager.contents,
      app.commands,
      language.load('jupyter_trainjob')
    );
    rendermime.addFactory(cardFactory({ store: new JobStore(client), opener }, language));
  }
};

export default [cards];
