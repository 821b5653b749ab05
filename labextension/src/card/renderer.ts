import { PathExt } from '@jupyterlab/coreutils';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { PanelLayout, Widget } from '@lumino/widgets';

import { IJobRef } from '../api/types';
import { JobCard, ICardContext } from './card';
import { element } from './dom';

export const MIME_TYPE = 'application/vnd.trainjob+json';

/** Before HTML and plain text, which front ends without us show. */
const RANK = 30;

/**
 * Renders `{uid, namespace, name}` as a live card. With `log: "below"` the card leaves the log out: the kernel prints it.
 *
 * Safe: whatever stands in the output is looked up by uid with the viewer's own rights and shown as text.
 */
export function cardFactory(context: Omit<ICardContext, 'folder'>): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [MIME_TYPE],
    defaultRank: RANK,
    createRenderer: options => new CardRenderer(options, context)
  };
}

class CardRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(
    private _options: IRenderMime.IRendererOptions,
    private _shared: Omit<ICardContext, 'folder'>
  ) {
    super();
    this.layout = new PanelLayout();
    this.addClass('jp-TrainJobOutput');
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const data = model.data[MIME_TYPE];
    this._show(jobRef(data), isLogBelow(data));
    return Promise.resolve();
  }

  private _show(ref: IJobRef | null, logIsBelow: boolean): void {
    const layout = this.layout as PanelLayout;
    const { trans } = this._shared;
    const shown = layout.widgets[0];
    if (ref && shown instanceof JobCard && shown.ref.uid === ref.uid && shown.logIsBelow === logIsBelow) {
      return;
    }
    shown?.dispose();
    if (ref) {
      const folder = () => PathExt.dirname(resolverPath(this._options.resolver));
      layout.addWidget(new JobCard(ref, { ...this._shared, folder }, logIsBelow));
    } else {
      const text = trans.__('This output names no job.');
      layout.addWidget(new Widget({ node: element('p', {}, text) }));
    }
  }
}

/** The reference in an output, if it is one. An output is anybody's text. */
export function jobRef(data: unknown): IJobRef | null {
  if (typeof data !== 'object' || data === null) {
    return null;
  }
  const { uid, namespace, name } = data as Record<string, unknown>;
  if (typeof uid !== 'string' || typeof namespace !== 'string' || !/^[0-9a-f-]{32,36}$/.test(uid) || !namespace) {
    return null;
  }
  return { uid, namespace, name: typeof name === 'string' && name ? name.slice(0, 63) : uid };
}

/** Whether the kernel prints the log below the card, as it does with `--block`. */
export function isLogBelow(data: unknown): boolean {
  return typeof data === 'object' && data !== null && (data as Record<string, unknown>).log === 'below';
}

/** The notebook's path, where the resolver knows it. */
function resolverPath(resolver: IRenderMime.IResolver | null): string {
  const path = (resolver as { path?: unknown } | null)?.path;
  return typeof path === 'string' ? path : '';
}
