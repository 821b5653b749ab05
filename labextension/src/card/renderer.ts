import { PathExt } from '@jupyterlab/coreutils';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { PanelLayout, Widget } from '@lumino/widgets';

import { IJobRef } from '../api/types';
import type { ICardContext } from './card';
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

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const data = model.data[MIME_TYPE];
    await this._show(jobRef(data), isLogBelow(data));
  }

  private async _show(ref: IJobRef | null, logIsBelow: boolean): Promise<void> {
    const { trans } = this._shared;
    const wanted = JSON.stringify([ref, logIsBelow]);
    if (wanted === this._wanted) {
      return;
    }
    this._wanted = wanted;
    if (!ref) {
      this._put(new Widget({ node: element('p', {}, trans.__('This output names no job.')) }));
      return;
    }
    const { JobCard } = await import('./card'); // pages without a card do without it
    if (wanted === this._wanted && !this.isDisposed) {
      const folder = () => PathExt.dirname(resolverPath(this._options.resolver));
      this._put(new JobCard(ref, { ...this._shared, folder }, logIsBelow));
    }
  }

  private _put(widget: Widget): void {
    const layout = this.layout as PanelLayout;
    layout.widgets[0]?.dispose();
    layout.addWidget(widget);
  }

  private _wanted = '';
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
