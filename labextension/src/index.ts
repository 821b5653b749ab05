import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PathExt } from '@jupyterlab/coreutils';
import { DocumentWidget } from '@jupyterlab/docregistry';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator } from '@jupyterlab/translation';

import { JobActions } from './actions';
import { TrainJobClient } from './api/client';
import { NotebookOpener } from './card/notebook';
import { cardFactory } from './card/renderer';
import { jobPlugin } from './job/plugin';
import { panelPlugin } from './panel/plugin';
import { queuesPlugin } from './queues/plugin';
import { submitPlugin } from './submit/plugin';
import { IJobs } from './plugins';
import { translations } from './language';
import { JobStore } from './store/jobs';
import { JobList } from './store/list';

/** What all the others share. */
const jobs: JupyterFrontEndPlugin<IJobs> = {
  id: 'jupyter-trainjob:jobs',
  description: 'The connection to the job service, and what is known of the jobs on this page.',
  autoStart: true,
  provides: IJobs,
  optional: [ITranslator],
  activate: async (app: JupyterFrontEnd, translator: ITranslator | null): Promise<IJobs> => {
    const trans = await translations(translator);
    const client = new TrainJobClient(app.serviceManager.serverSettings);
    const opener = new NotebookOpener(client, app.serviceManager.contents, app.commands, trans);
    const store = new JobStore(client); // one a page, and so one feed
    const actions = new JobActions(store, opener, trans);
    const folder = () => {
      const { currentWidget } = app.shell;
      return currentWidget instanceof DocumentWidget ? PathExt.dirname(currentWidget.context.path) : '';
    };
    return { client, store, list: new JobList(store), opener, actions, trans, folder, selected: () => [] };
  }
};

/** Live cards in the outputs of cells. Works in JupyterLab and in Notebook 7. */
const cards: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-trainjob:cards',
  description: 'Shows jobs live in the output of the cells that sent them.',
  autoStart: true,
  requires: [IJobs, IRenderMimeRegistry],
  activate: (_: JupyterFrontEnd, { store, opener, trans }: IJobs, rendermime: IRenderMimeRegistry) => {
    rendermime.addFactory(cardFactory({ store, opener, trans }));
  }
};

export default [jobs, cards, panelPlugin, jobPlugin, submitPlugin, queuesPlugin];
