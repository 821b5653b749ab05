import { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { ITrainJob } from '../api/types';
import type { IPanelContext, JobsPanel } from './panel';

/** The panel's place at the side. What is in it is loaded when it is first shown: most pages begin without. */
export class PanelHost extends Widget {
  constructor(
    private _context: IPanelContext,
    private _selectionChanged: () => void
  ) {
    super();
    this.id = 'jupyter-trainjob-panel';
    this.addClass('jp-TrainJobsHost');
    this.layout = new PanelLayout();
  }

  /** What commands act upon. */
  selected(): ITrainJob[] {
    return this._panel?.selected() ?? [];
  }

  /** Puts the cursor where one begins to type what one looks for. */
  async find(): Promise<void> {
    (await this._load()).find();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      void this._load();
    }
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this._load();
  }

  protected onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    void this._load().then(panel => panel.activate());
  }

  private _load(): Promise<JobsPanel> {
    this._loading ??= import('./panel').then(({ JobsPanel }) => {
      const panel = (this._panel = new JobsPanel(this._context));
      panel.selectionChanged.connect(this._selectionChanged);
      (this.layout as PanelLayout).addWidget(panel);
      return panel;
    });
    return this._loading;
  }

  private _panel: JobsPanel | null = null;
  private _loading: Promise<JobsPanel> | null = null;
}
