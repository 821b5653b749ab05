import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { ApiError } from '../api/client';
import { addJobCommands, CommandIDs } from '../commands';
import { jobsIcon } from '../icons';
import { allowBrowserNotices, memoryIn, notifyEnd } from '../notices';
import { IJobs } from '../plugins';
import { translateSettings } from '../settings';
import { EndWatch } from '../store/watch';
import { PanelHost } from './host';
import { filtersIn } from './saved';
import { JobsStatus } from './status';

const ID = 'jupyter-trainjob:panel';

/** The list of jobs at the left, its commands, the count in the status bar, and notices of ends. */
export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Lists jobs at the left side, counts them in the status bar, and tells when one has ended.',
  autoStart: true,
  requires: [IJobs],
  optional: [ICommandPalette, ILauncher, ILayoutRestorer, ISettingRegistry, IStateDB, IStatusBar, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    jobs: IJobs,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null,
    state: IStateDB | null,
    statusBar: IStatusBar | null,
    translator: ITranslator | null
  ) => {
    const { commands, shell } = app;
    const { store, list, actions, trans, folder, client } = jobs;
    const settings = registry?.load(ID) ?? null;
    settings?.catch((reason: unknown) => console.warn('jupyter-trainjob: no settings:', reason));
    const seesOthers = async () => {
      const { permissions, username } = await client.me();
      const mine = (where?: string) => where === username;
      return permissions.some(
        ({ kind, verbs, namespace }) => kind === 'TrainJob' && verbs.includes('get') && !mine(namespace)
      );
    };
    if (registry) {
      // nobody looks at the settings before the page is there
      void app.restored.then(() => translateSettings(registry, trans));
    }
    const filters = filtersIn(settings, trans);
    const panel = new PanelHost({ ...jobs, commands, filters, seesOthers: quiet(seesOthers) }, () =>
      commands.notifyCommandChanged()
    );
    jobs.selected = () => panel.selected();
    panel.title.icon = jobsIcon;
    panel.title.caption = trans.__('Jobs');
    panel.node.setAttribute('role', 'region');
    panel.node.setAttribute('aria-label', trans.__('Jobs'));
    shell.add(panel, 'left', { rank: 450 });
    restorer?.add(panel, panel.id);

    addJobCommands(commands, panel, actions, folder, trans);
    const show = () => shell.activateById(panel.id);
    commands.addCommand(CommandIDs.panel, {
      label: args => (args.isLauncher ? trans.__('Jobs') : trans.__('Show the jobs')),
      caption: trans.__('Show what runs and what waits'),
      icon: jobsIcon,
      describedBy: { args: { type: 'object', properties: { isLauncher: { type: 'boolean' } } } },
      execute: show
    });
    commands.addCommand(CommandIDs.find, {
      label: trans.__('Find a job'),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => {
        show();
        return panel.find();
      }
    });
    commands.addCommand(CommandIDs.allowNotices, {
      label: trans.__('Tell the end of jobs in the browser’s own notices, too'),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: async () => {
        const allowed = await allowBrowserNotices();
        Notification.info(
          allowed ? trans.__('The browser will tell, too.') : trans.__('The browser does not allow notices here.'),
          { autoClose: 10_000 }
        );
      }
    });
    const category = (translator ?? nullTranslator).load('jupyterlab').__('Other'); // Lab's own word, whatever it is
    launcher?.add({ command: CommandIDs.panel, category, rank: 10, args: { isLauncher: true } });
    const offered = [CommandIDs.panel, CommandIDs.find, CommandIDs.allowNotices, CommandIDs.cancel, CommandIDs.retry];
    offered.forEach(command => palette?.addItem({ command, category: trans.__('Jobs') }));

    let all = false;
    const watch = new EndWatch(store, memoryIn(state), job => all || !!job.spec.notify);
    watch.ended.connect((_, job) => notifyEnd(job, jobs.opener, trans));
    void settings?.then(found => {
      const read = () => {
        all = found.get('notify').composite === 'all';
      };
      read();
      found.changed.connect(read);
    });
    if (statusBar) {
      const item = new JobsStatus(list, store, trans, show);
      statusBar.registerStatusItem(`${ID}-status`, { item, align: 'left', rank: 3 });
      // the page comes first; what only counts comes after it
      void app.restored.then(() => list.begin());
    }
  }
};

/** Whether it may; where the server does not say so, it may not. */
function quiet(ask: () => Promise<boolean>): () => Promise<boolean> {
  return async () => {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      return false;
    }
  };
}
