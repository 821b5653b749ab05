import { ILabShell, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget } from '@jupyterlab/apputils';
import { treeViewIcon } from '@jupyterlab/ui-components';

import { CommandIDs } from '../commands';
import { IJobs } from '../plugins';

/** The queues in the main area. Notebook 7 shows no such thing; there the command is not offered. */
export const queuesPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-trainjob:queues',
  description: 'Shows the queues: what they use, who waits, and for those who may, what can be changed.',
  autoStart: true,
  requires: [IJobs, ILabShell],
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, jobs: IJobs, shell: ILabShell, palette: ICommandPalette | null) => {
    const { commands } = app;
    const { trans } = jobs;
    const id = 'jupyter-trainjob-queues';
    commands.addCommand(CommandIDs.queues, {
      label: trans.__('Show the queues'),
      icon: treeViewIcon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: async () => {
        if (![...shell.widgets('main')].some(widget => widget.id === id)) {
          const { QueuesView } = await import('./view');
          const widget = new MainAreaWidget({ content: new QueuesView({ ...jobs, commands }) });
          widget.id = id;
          widget.title.label = trans.__('Queues');
          widget.title.icon = treeViewIcon;
          widget.title.closable = true;
          shell.add(widget, 'main');
        }
        shell.activateById(id);
      }
    });
    palette?.addItem({ command: CommandIDs.queues, category: trans.__('Jobs') });
  }
};
