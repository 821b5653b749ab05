import { ILabShell, ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { DocumentWidget } from '@jupyterlab/docregistry';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { Widget } from '@lumino/widgets';

import { IJobRef } from '../api/types';
import { jobRef } from '../card/renderer';
import { CommandIDs, refIn } from '../commands';
import { jobsIcon } from '../icons';
import { IJobs } from '../plugins';
import { JOB_FILE, JobDocumentFactory, jobFile } from './document';

const FACTORY = 'Job';

/** A job in the main area: beside notebooks in Lab, as a file of its own in Notebook 7. */
export const jobPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-trainjob:job',
  description: 'Shows a job in the main area: its log, cells, metrics, files and events.',
  autoStart: true,
  requires: [IJobs, IRenderMimeRegistry],
  optional: [ILabShell, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    jobs: IJobs,
    rendermime: IRenderMimeRegistry,
    shell: ILabShell | null,
    restorer: ILayoutRestorer | null
  ) => {
    const { commands } = app;
    const { trans, folder } = jobs;
    const tracker = new WidgetTracker<MainAreaWidget>({ namespace: 'trainjob' });
    const refs = new WeakMap<Widget, IJobRef>();
    const view = async (ref: IJobRef) => {
      const { JobView } = await import('./view'); // nobody waits at the start for what is opened later
      return new JobView(ref, { ...jobs, rendermime });
    };
    const add = (content: Widget, id: string, label: string) => {
      const widget = new MainAreaWidget({ content });
      widget.id = id;
      widget.title.label = label;
      widget.title.icon = jobsIcon;
      widget.title.closable = true;
      app.shell.add(widget, 'main');
      app.shell.activateById(widget.id);
      return widget;
    };

    app.docRegistry.addFileType({ ...JOB_FILE, displayName: trans.__('Job'), icon: jobsIcon });
    const factory = new JobDocumentFactory(
      {
        name: FACTORY,
        label: trans.__('Job'),
        fileTypes: [JOB_FILE.name],
        defaultFor: [JOB_FILE.name],
        readOnly: true
      },
      view,
      trans
    );
    app.docRegistry.addWidgetFactory(factory);
    const files = new WidgetTracker<DocumentWidget>({ namespace: 'trainjob-file' });
    factory.widgetCreated.connect((_, widget) => {
      widget.title.icon = jobsIcon;
      void files.add(widget);
    });

    commands.addCommand(CommandIDs.open, {
      label: trans.__('Open a job'),
      describedBy: {
        args: {
          type: 'object',
          properties: { uid: { type: 'string' }, namespace: { type: 'string' }, name: { type: 'string' } },
          required: ['uid', 'namespace']
        }
      },
      execute: async args => {
        const ref = jobRef(refIn(args));
        if (!ref) {
          throw new Error(trans.__('These arguments name no job: %1', JSON.stringify(args)));
        }
        if (!shell) {
          // Notebook 7 drops what is no document
          const path = PathExt.join(folder(), `${ref.name}.trainjob`);
          await app.serviceManager.contents.save(path, { type: 'file', format: 'text', content: jobFile(ref) });
          return commands.execute('docmanager:open', { path, factory: FACTORY });
        }
        const there = tracker.find(widget => refs.get(widget)?.uid === ref.uid);
        if (there) {
          app.shell.activateById(there.id);
          return there;
        }
        const widget = add(await view(ref), `trainjob-${ref.uid}`, ref.name);
        refs.set(widget, ref);
        await tracker.add(widget);
        return widget;
      }
    });
    commands.addCommand(CommandIDs.compare, {
      label: trans.__('Compare'),
      caption: trans.__('A table of the selected jobs, and their metrics in one plot'),
      describedBy: { args: { type: 'object', properties: { jobs: { type: 'array' } } } },
      isVisible: () => shell !== null,
      isEnabled: args => Array.isArray(args.jobs) || jobs.selected().length > 0,
      execute: async args => {
        const given = Array.isArray(args.jobs)
          ? args.jobs.map(jobRef)
          : jobs.selected().map(job => jobRef(job.metadata));
        const chosen = given.filter((ref): ref is IJobRef => ref !== null);
        const { CompareView } = await import('./compare');
        const content = new CompareView(chosen, jobs.store, commands, trans);
        return add(
          content,
          `trainjob-compare-${counter++}`,
          trans._n('%1 job', '%1 jobs', chosen.length, chosen.length)
        );
      }
    });
    void restorer?.restore(tracker, {
      command: CommandIDs.open,
      args: widget => ({ ...refs.get(widget) }),
      name: widget => refs.get(widget)?.uid ?? ''
    });
    void restorer?.restore(files, {
      command: 'docmanager:open',
      args: widget => ({ path: widget.context.path, factory: FACTORY }),
      name: widget => widget.context.path
    });
  }
};

let counter = 0;
