import { Token } from '@lumino/coreutils';
import { TranslationBundle } from '@jupyterlab/translation';

import { JobActions } from './actions';
import { TrainJobClient } from './api/client';
import { ITrainJob } from './api/types';
import { NotebookOpener } from './card/notebook';
import { JobStore } from './store/jobs';
import { JobList } from './store/list';

/** What all plugins share: one connection, one store, one list a page. */
export interface IJobs {
  client: TrainJobClient;
  store: JobStore;
  list: JobList;
  opener: NotebookOpener;
  actions: JobActions;
  trans: TranslationBundle;
  /** What is selected in the panel. */
  selected: () => ITrainJob[];
  /** The folder of what is open: copies go there. */
  folder: () => string;
}

export const IJobs = new Token<IJobs>('jupyter-trainjob:IJobs', 'The jobs on this page.');
