import { describe, expect, it } from 'vitest';

import { cellToSend } from './target';

/** As much of a notebook on screen as is looked at. */
function notebook(path: string, ...ids: string[]) {
  const widgets = ids.map(id => ({ model: { id, type: id.startsWith('text') ? 'markdown' : 'code' } }));
  return { sessionContext: { path }, content: { widgets } };
}

function tracker(current: ReturnType<typeof notebook>, ...others: ReturnType<typeof notebook>[]) {
  const all = [current, ...others];
  const find = (test: (panel: never) => boolean) => all.find(panel => test(panel as never));
  return { currentWidget: current, activeCell: current.content.widgets[0], find } as never;
}

const at = (place: ReturnType<typeof cellToSend>) => place && [place.panel.sessionContext.path, place.model.id];

describe('the cell to send', () => {
  it('is the one where the cursor stands, unless one is named', () => {
    const notebooks = tracker(notebook('b.ipynb', 'one', 'two'));
    expect(at(cellToSend(notebooks, {}))).toEqual(['b.ipynb', 'one']);
    expect(at(cellToSend(notebooks, { cellId: 'two' }))).toEqual(['b.ipynb', 'two']);
  });

  it('is found in the notebook where it runs, whichever is looked at', () => {
    const notebooks = tracker(notebook('b.ipynb', 'other'), notebook('a.ipynb', 'mine'));
    expect(at(cellToSend(notebooks, { cellId: 'mine', path: 'a.ipynb' }))).toEqual(['a.ipynb', 'mine']);
    expect(at(cellToSend(notebooks, { cellId: 'mine' }))).toEqual(['a.ipynb', 'mine']);
  });

  it('is not its copy in a copied notebook', () => {
    const notebooks = tracker(notebook('copy.ipynb', 'mine'), notebook('a.ipynb', 'mine'));
    expect(at(cellToSend(notebooks, { cellId: 'mine', path: 'a.ipynb' }))).toEqual(['a.ipynb', 'mine']);
  });

  it('is none where the named one is gone, or holds no code', () => {
    const notebooks = tracker(notebook('b.ipynb', 'other', 'text'));
    expect(cellToSend(notebooks, { cellId: 'mine' })).toBeNull();
    expect(cellToSend(notebooks, { cellId: 'other', path: 'a.ipynb' })).toBeNull();
    expect(cellToSend(notebooks, { cellId: 'text' })).toBeNull();
  });
});
