import { TranslationBundle } from '@jupyterlab/translation';
import {
  copyIcon,
  downloadIcon,
  listIcon,
  notebookIcon,
  pauseIcon,
  refreshIcon,
  runIcon,
  stopIcon,
  tagIcon
} from '@jupyterlab/ui-components';
import { Clipboard } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';

import { JobActions } from './actions';
import { hasNotebook, IJobRef, isFinal, isHeld, ITrainJob, refOf } from './api/types';

export const CommandIDs = {
  panel: 'trainjob:panel',
  find: 'trainjob:find',
  open: 'trainjob:open',
  openSelected: 'trainjob:open-selected',
  cancel: 'trainjob:cancel',
  retry: 'trainjob:retry',
  hold: 'trainjob:hold',
  release: 'trainjob:release',
  label: 'trainjob:label',
  remove: 'trainjob:delete',
  notebook: 'trainjob:open-notebook',
  download: 'trainjob:download',
  copyName: 'trainjob:copy-name',
  compare: 'trainjob:compare',
  queues: 'trainjob:queues',
  submitForm: 'trainjob:submit-notebook',
  submitCell: 'trainjob:submit-cell',
  allowNotices: 'trainjob:allow-browser-notices'
} as const;

/** Who says what the commands act upon. */
export interface ISelectedJobs {
  selected(): ITrainJob[];
}

/** The commands that act upon the jobs that are selected in the panel. */
export function addJobCommands(
  commands: CommandRegistry,
  source: ISelectedJobs,
  actions: JobActions,
  folder: () => string,
  trans: TranslationBundle
): void {
  const chosen = () => source.selected();
  const some = (test: (job: ITrainJob) => boolean) => () => chosen().some(test);
  const one = (test: (job: ITrainJob) => boolean) => () => chosen().length === 1 && chosen().every(test);
  const add = (id: string, options: CommandRegistry.ICommandOptions) =>
    commands.addCommand(id, { describedBy: { args: { type: 'object', properties: {} } }, ...options });

  add(CommandIDs.openSelected, {
    label: trans.__('Open'),
    caption: trans.__('Show its log, cells, metrics and files'),
    icon: listIcon,
    isEnabled: () => chosen().length > 0 && commands.hasCommand(CommandIDs.open),
    execute: () => Promise.all(chosen().map(job => commands.execute(CommandIDs.open, { ...refOf(job) })))
  });
  add(CommandIDs.cancel, {
    label: trans.__('Cancel'),
    icon: stopIcon,
    isEnabled: some(job => !isFinal(job) && !job.spec.cancel),
    execute: () => actions.cancel(chosen())
  });
  add(CommandIDs.retry, {
    label: trans.__('Run again'),
    icon: refreshIcon,
    isEnabled: some(isFinal),
    execute: () => actions.retry(chosen())
  });
  add(CommandIDs.hold, {
    label: trans.__('Hold'),
    caption: trans.__('Keep it from starting until it is released'),
    icon: pauseIcon,
    isEnabled: some(job => job.status.phase === 'Queued' && !isHeld(job)),
    execute: () => actions.hold(chosen().filter(job => job.status.phase === 'Queued' && !isHeld(job)))
  });
  add(CommandIDs.release, {
    label: trans.__('Release'),
    icon: runIcon,
    isEnabled: some(job => job.status.phase === 'Queued' && isHeld(job)),
    execute: () => actions.release(chosen().filter(isHeld))
  });
  add(CommandIDs.label, {
    label: trans.__('Label…'),
    icon: tagIcon,
    isEnabled: () => chosen().length > 0,
    execute: () => actions.label(chosen())
  });
  add(CommandIDs.remove, {
    label: trans.__('Delete…'),
    isEnabled: () => chosen().length > 0,
    execute: () => actions.remove(chosen())
  });
  add(CommandIDs.notebook, {
    label: trans.__('Open executed notebook'),
    icon: notebookIcon,
    isEnabled: one(hasNotebook),
    execute: () => Promise.all(chosen().map(job => actions.openNotebook(refOf(job), folder())))
  });
  add(CommandIDs.download, {
    label: trans.__('Download outputs'),
    icon: downloadIcon,
    isEnabled: one(isFinal),
    execute: () => chosen().forEach(job => actions.download(refOf(job)))
  });
  add(CommandIDs.copyName, {
    label: trans.__('Copy name'),
    icon: copyIcon,
    isEnabled: () => chosen().length > 0,
    execute: () => {
      const names = chosen().map(job => job.metadata.name);
      Clipboard.copyToSystem(names.join('\n'));
    }
  });
}

/** The job that a command's arguments name. */
export function refIn(args: { [key: string]: unknown }): IJobRef {
  return { uid: String(args.uid), namespace: String(args.namespace), name: String(args.name ?? args.uid) };
}
