/** What is shown when a job ends whose owner wanted to be told. */
import { Notification } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { TranslationBundle } from '@jupyterlab/translation';

import { hasNotebook, IJobRef, ITrainJob, Phase, refOf } from './api/types';
import { NotebookOpener } from './card/notebook';
import { jobRef } from './card/renderer';
import { duration, elapsedSeconds, note, stateLine } from './card/words';
import { IWatchMemory } from './store/watch';

const KEY = 'jupyter-trainjob:watched';

const TYPES: Partial<Record<Phase, Notification.TypeOptions>> = { Succeeded: 'success', Failed: 'error' };

/** Shows the end of a job until it is dismissed. */
export function notifyEnd(job: ITrainJob, opener: NotebookOpener, trans: TranslationBundle): void {
  const open = {
    label: trans.__('Open executed notebook'),
    callback: () => {
      // no notebook stands behind a notice: the copy goes to the top folder
      opener.open(refOf(job), '').catch((error: unknown) => {
        Notification.error(error instanceof Error ? error.message : String(error));
      });
    }
  };
  Notification.emit(endWords(job, trans), TYPES[job.status.phase] ?? 'warning', {
    autoClose: false,
    actions: hasNotebook(job) ? [open] : []
  });
  if (document.hidden && browserNotices()?.permission === 'granted') {
    // who looks at another tab sees none of Lab's own
    new (browserNotices()!)(endWords(job, trans), { tag: job.metadata.uid });
  }
}

/** Asks the browser whether we may tell ends in notices of its own. */
export async function allowBrowserNotices(): Promise<boolean> {
  return (await browserNotices()?.requestPermission()) === 'granted';
}

/** The browser's class of the same name as Lab's; some have none. */
function browserNotices(): typeof window.Notification | undefined {
  return 'Notification' in window ? window.Notification : undefined;
}

/** Which job, how it ended, and after how long or why. */
export function endWords(job: ITrainJob, trans: TranslationBundle): string {
  const state = stateLine(job, trans);
  const seconds = elapsedSeconds(job, NaN); // of an attempt that has ended no clock is asked
  const ended = seconds ? trans.__('%1, after %2', state, duration(seconds, trans)) : state;
  return [`${job.metadata.name}: ${ended}.`, note(job, trans)].filter(Boolean).join(' ');
}

/**
 * Keeps what is waited for in Lab's state, which lies on the server and outlives the page. Notebook 7 has no lasting state:
 * there an end is told by any page that is open then, and by none later.
 */
export function memoryIn(state: IStateDB | null): IWatchMemory {
  return {
    load: async () => {
      const kept = await state?.fetch(KEY);
      return Array.isArray(kept) ? kept.map(jobRef).filter((ref): ref is IJobRef => ref !== null) : [];
    },
    save: async refs => {
      await state?.save(
        KEY,
        refs.map(ref => ({ ...ref }))
      );
    }
  };
}
