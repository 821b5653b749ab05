/** A job's story in words, oldest first: pure. */
import { TranslationBundle } from '@jupyterlab/translation';

import { IAttempt, ITrainJob, isFinal } from '../api/types';
import { bytes, duration, needs, note, phaseWords, reasonWords, span, warnings } from '../card/words';

export interface IEvent {
  /** RFC 3339; empty where nobody noted it. */
  time: string;
  text: string;
  /** Something is not as it should be. */
  amiss?: boolean;
}

export function eventsOf(job: ITrainJob, trans: TranslationBundle): IEvent[] {
  const { metadata, status } = job;
  const events: IEvent[] = [];
  const sent = metadata.owner
    ? trans.__('Sent by %1: %2', metadata.owner, needs({ ...job, status: { phase: 'Queued' } }, trans))
    : trans.__('Sent');
  events.push({ time: metadata.creationTimestamp ?? '', text: sent });
  let queued = status.queued ?? metadata.creationTimestamp;
  for (const attempt of status.attempts ?? []) {
    events.push(...attemptEvents(attempt, queued, status.attempts!.length > 1, trans));
    queued = attempt.end;
  }
  for (const text of warnings(job)) {
    const told = status.conditions?.find(condition => condition.message === text)?.lastTransitionTime;
    events.push({ time: told ?? '', text, amiss: true });
  }
  if (isFinal(job)) {
    events.push(ending(job, trans));
  } else if (status.phase === 'Queued') {
    events.push({ time: '', text: [phaseWords('Queued', trans), note(job, trans)].filter(Boolean).join(': ') });
  }
  return events.sort((one, other) => (one.time || '9').localeCompare(other.time || '9'));
}

function attemptEvents(
  attempt: IAttempt,
  queued: string | undefined,
  several: boolean,
  trans: TranslationBundle
): IEvent[] {
  const which = several ? trans.__('Attempt %1: ', attempt.number) : '';
  const events: IEvent[] = [];
  if (attempt.admitted) {
    const waited = seconds(queued, attempt.admitted);
    const text =
      waited >= 1 ? trans.__('waited %1 for its turn', span(waited, trans)) : trans.__('had its turn at once');
    events.push({ time: attempt.admitted, text: which + text });
  }
  if (attempt.start) {
    const parts = [
      attempt.node ? trans.__('ran on %1', attempt.node) : trans.__('its code began'),
      attempt.isolation ? trans.__('isolation: %1', attempt.isolation) : ''
    ];
    events.push({ time: attempt.start, text: which + parts.filter(Boolean).join(', ') });
  }
  if (attempt.end && several) {
    const words = reasonWords(attempt.reason, trans);
    const text = [trans.__('ended: %1', words), attempt.message ?? ''].filter(Boolean).join('. ');
    events.push({ time: attempt.end, text: which + text, amiss: attempt.reason !== 'Completed' });
  }
  return events;
}

function ending(job: ITrainJob, trans: TranslationBundle): IEvent {
  const { phase, reason, message, attempts = [], finished } = job.status;
  const last = attempts[attempts.length - 1];
  const parts = [phase === 'Failed' ? trans.__('Ended: %1', reasonWords(reason, trans)) : phaseWords(phase, trans)];
  if (message) {
    parts.push(message);
  }
  if (last?.start && last.end) {
    parts.push(trans.__('It ran for %1.', duration(seconds(last.start, last.end), trans)));
  }
  if (last?.usage?.peakMemoryBytes) {
    const { cpuSeconds = 0, peakMemoryBytes } = last.usage;
    parts.push(
      trans.__('It used %1 CPU seconds and at most %2 of memory.', cpuSeconds.toFixed(1), bytes(peakMemoryBytes))
    );
  }
  return { time: finished ?? last?.end ?? '', text: sentences(parts), amiss: phase === 'Failed' };
}

function sentences(parts: string[]): string {
  return parts.map(part => (/[.!?…。]$/.test(part) ? part : `${part}.`)).join(' ');
}

function seconds(from: string | undefined, to: string): number {
  return from ? Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000) : 0;
}
