/** What a row of the list says, as pure functions of a job. */
import { TranslationBundle } from '@jupyterlab/translation';

import { isFinal, ITrainJob, latestAttempt } from '../api/types';
import { bar, duration, elapsedSeconds, note, phaseWords, reasonWords, stateLine } from '../card/words';
import { Group } from '../store/groups';
import { JobList } from '../store/list';

export function groupWords(group: Group, trans: TranslationBundle): string {
  const words: Record<Group, string> = {
    running: trans.__('Running'),
    waiting: trans.__('Waiting'),
    failed: trans.__('Failed'),
    succeeded: trans.__('Succeeded'),
    cancelled: trans.__('Cancelled')
  };
  return words[group];
}

/** The second line of a row: how far it is, why it waits, or how it ended. */
export function detail(job: ITrainJob, trans: TranslationBundle, nowMs: number): string {
  const { phase, reason, position } = job.status;
  const parts: string[] = [];
  if (phase === 'Running' && !job.spec.cancel) {
    parts.push(bar(job, trans)?.text || phaseWords(phase, trans), remaining(job, trans, nowMs));
  } else if (phase === 'Failed') {
    const why = note(job, trans); // of an error in the code it names the error, which says more than that it is one
    parts.push(reason === 'CodeError' && why ? why : reasonWords(reason, trans), reason === 'CodeError' ? '' : why);
  } else if (phase === 'Queued' && position) {
    parts.push(trans.__('Number %1 in line', position), note(job, trans));
  } else if (!isFinal(job)) {
    parts.push(stateLine(job, trans), note(job, trans));
  } else {
    const { by, message } = job.spec.cancel ?? {};
    const tells = phase === 'Cancelled' && (!!message || by !== job.metadata.owner);
    parts.push((tells && note(job, trans)) || took(job, trans));
  }
  return parts.filter(Boolean).join(' · ');
}

/** When it will have ended, as far as anybody can tell. */
export function remaining(job: ITrainJob, trans: TranslationBundle, nowMs: number): string {
  const elapsed = elapsedSeconds(job, nowMs);
  const fraction = bar(job, trans)?.fraction ?? 0;
  if (elapsed !== null && elapsed > 5 && fraction >= 0.05 && fraction < 1) {
    return trans.__('about %1 left', duration((elapsed * (1 - fraction)) / fraction, trans));
  }
  return '';
}

/** The time at a row's end: how long it has run, or when it was made or ended. */
export function when(job: ITrainJob, trans: TranslationBundle, nowMs: number): string {
  if (!isFinal(job)) {
    const seconds = elapsedSeconds(job, nowMs);
    return seconds === null ? '' : duration(seconds, trans);
  }
  const time = job.status.finished ?? latestAttempt(job)?.end ?? job.metadata.creationTimestamp;
  return time ? moment(time, nowMs) : '';
}

function took(job: ITrainJob, trans: TranslationBundle): string {
  const seconds = elapsedSeconds(job, NaN); // of an attempt that has ended no clock is asked
  const words = phaseWords(job.status.phase, trans);
  return seconds ? trans.__('%1, after %2', words, duration(seconds, trans)) : words;
}

/** The time of day, or the day where that is another. */
export function moment(time: string, nowMs: number): string {
  const date = new Date(time);
  const today = date.toDateString() === new Date(nowMs).toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : date.toLocaleDateString([], { month: 'short', day: 'numeric' });
}

/** What the server says against telling jobs at all. */
export function problemWords({ problem }: JobList): string {
  return problem && !problem.passing ? [problem.message, problem.remedy].filter(Boolean).join(' ') : '';
}

/** Instead of rows, where there is none to show. */
export function emptyWords(list: JobList, trans: TranslationBundle): string {
  const told = problemWords(list);
  if (told || list.loading) {
    return told;
  }
  if (!list.ready) {
    return list.problem ? trans.__('The server does not answer.') : trans.__('Asking the server…');
  }
  return list.jobs.size
    ? trans.__('No job passes the filter.')
    : trans.__('No jobs yet. Put %1 on top of a cell and run it, or submit a notebook with the + above.', '%%trainjob');
}
