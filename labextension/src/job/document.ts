import { ABCWidgetFactory, DocumentRegistry, DocumentWidget } from '@jupyterlab/docregistry';
import { TranslationBundle } from '@jupyterlab/translation';
import { PanelLayout, Widget } from '@lumino/widgets';

import { IJobRef } from '../api/types';
import { jobRef } from '../card/renderer';
import { element } from '../card/dom';

/** A file that names a job, so that Notebook 7, which shows only files, can show one too. */
export const JOB_FILE = {
  name: 'trainjob',
  extensions: ['.trainjob'],
  mimeTypes: ['application/json'],
  fileFormat: 'text' as const
};

/** The text of such a file. */
export function jobFile({ uid, namespace, name }: IJobRef): string {
  return JSON.stringify({ uid, namespace, name }, undefined, 1) + '\n';
}

/** Opens such a file as the view of the job. */
export class JobDocumentFactory extends ABCWidgetFactory<DocumentWidget> {
  constructor(
    options: DocumentRegistry.IWidgetFactoryOptions<DocumentWidget>,
    private _view: (ref: IJobRef) => Promise<Widget>,
    private _trans: TranslationBundle
  ) {
    super(options);
  }

  protected createNewWidget(context: DocumentRegistry.Context): DocumentWidget {
    const content = new Widget();
    const layout = (content.layout = new PanelLayout());
    content.addClass('jp-TrainJobDocument');
    const reveal = context.ready.then(async () => {
      const ref = readJobFile(context.model.toString());
      layout.addWidget(
        ref ? await this._view(ref) : new Widget({ node: element('p', {}, this._trans.__('This file names no job.')) })
      );
    });
    return new DocumentWidget({ content, context, reveal });
  }
}

/** The job that a file names; it is anybody's text. */
export function readJobFile(text: string): IJobRef | null {
  try {
    return jobRef(JSON.parse(text));
  } catch {
    return null;
  }
}
