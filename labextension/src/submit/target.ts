import { ICodeCellModel } from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

/** Which cell: what a command's arguments may say. */
export interface ICellName {
  cellId?: string;
  /** The path of its notebook's session: copies of a notebook have cells of the same ids. */
  path?: string;
}

export interface ICellPlace {
  panel: NotebookPanel;
  model: ICodeCellModel;
}

/**
 * The code cell that is named, in whichever notebook it lies; without a name the one where the cursor stands.
 * Null where there is none: a cell that was named is never replaced by another.
 */
export function cellToSend(
  notebooks: Pick<INotebookTracker, 'currentWidget' | 'activeCell' | 'find'>,
  { cellId, path }: ICellName
): ICellPlace | null {
  const { currentWidget, activeCell } = notebooks;
  if (cellId === undefined) {
    return placeOf(currentWidget, activeCell?.model);
  }
  const named = (panel: NotebookPanel) => panel.content.widgets.find(cell => cell.model.id === cellId)?.model;
  const fits = (panel: NotebookPanel) =>
    (path === undefined || panel.sessionContext.path === path) && named(panel) !== undefined;
  const panel = currentWidget && fits(currentWidget) ? currentWidget : (notebooks.find(fits) ?? null);
  return placeOf(panel, panel && named(panel));
}

function placeOf(panel: NotebookPanel | null, model: { type: string } | null | undefined): ICellPlace | null {
  return panel && model?.type === 'code' ? { panel, model: model as ICodeCellModel } : null;
}
