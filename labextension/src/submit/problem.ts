import { nullTranslator, TranslationBundle } from '@jupyterlab/translation';

import { told } from '../api/client';

/** What is wrong with what was typed, in words for the one who typed it: in their language where they are shown, in English in a log. */
export class LineError extends Error {
  constructor(readonly said: (trans: TranslationBundle) => string) {
    super(said(nullTranslator.load('jupyter_trainjob')));
    this.name = 'LineError';
  }
}

/** Any failure in words: ours in the language of the page, the server's in its own. */
export function problemWords(error: unknown, trans: TranslationBundle): string {
  return error instanceof LineError ? error.said(trans) : told(error);
}
