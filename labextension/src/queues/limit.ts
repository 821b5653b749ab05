import { InputDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { IQueue } from '../api/types';
import { LimitName, LIMITS, limitValue } from './tree';

export function limitWords(name: LimitName, trans: TranslationBundle): string {
  const words: Record<LimitName, string> = {
    runningJobs: trans.__('running jobs'),
    cpu: trans.__('CPUs'),
    memory: trans.__('memory'),
    gpu: trans.__('GPUs')
  };
  return words[name];
}

/** Asks which limit of a queue, and what it shall be; null where it is left as it is. */
export async function askLimit(
  queue: IQueue,
  trans: TranslationBundle
): Promise<{ limit: LimitName; value: number | string | null } | null> {
  const now = queue.spec.limits ?? {};
  const which = await InputDialog.getItem({
    title: trans.__('Which limit of %1?', queue.metadata.name),
    items: LIMITS.map(name => trans.__('%1 (now: %2)', limitWords(name, trans), String(now[name] ?? trans.__('none')))),
    okLabel: trans.__('Go on'),
    cancelLabel: trans.__('Leave it')
  });
  const limit = LIMITS.find(name => which.value?.startsWith(`${limitWords(name, trans)} (`));
  if (!which.button.accept || !limit) {
    return null;
  }
  const answer = await InputDialog.getText({
    title: limitWords(limit, trans),
    label: trans.__('The most that may be in use at once; empty for no limit'),
    text: String(now[limit] ?? ''),
    okLabel: trans.__('Set'),
    cancelLabel: trans.__('Leave it')
  });
  return answer.button.accept ? { limit, value: limitValue(limit, answer.value ?? '') } : null;
}
