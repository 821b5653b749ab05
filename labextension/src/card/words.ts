/** What a card says, as pure functions of a job. */
import { TranslationBundle } from '@jupyterlab/translation';

import {
  environment,
  hasGate,
  IGate,
  IProgress,
  isFinal,
  IJobRef,
  ITrainJob,
  latestAttempt,
  Phase
} from '../api/types';

export function phaseWords(phase: Phase, trans: TranslationBundle): string {
  switch (phase) {
    case 'Queued':
      return trans.__('Queued');
    case 'Admitted':
      return trans.__('Starting');
    case 'Running':
      return trans.__('Running');
    case 'Succeeded':
      return trans.__('Succeeded');
    case 'Failed':
      return trans.__('Failed');
    case 'Cancelled':
      return trans.__('Cancelled');
    default:
      return phase;
  }
}

/** Why an attempt ended, in a few words; the server's message tells the rest. */
export function reasonWords(reason: string | undefined, trans: TranslationBundle): string {
  const words: Record<string, string> = {
    Completed: trans.__('it was done'),
    CancelledByUser: trans.__('cancelled'),
    CodeError: trans.__('error in the code'),
    OutOfMemory: trans.__('out of memory'),
    TimeLimit: trans.__('time limit reached'),
    ProcessLimit: trans.__('too many processes'),
    DiskLimit: trans.__('out of disk space'),
    FileSizeLimit: trans.__('a file grew too large'),
    OpenFilesLimit: trans.__('too many open files'),
    KernelDied: trans.__('the kernel died'),
    RunnerLost: trans.__('the runner was lost'),
    EnvironmentError: trans.__('its environment could not be built'),
    ImageError: trans.__('the image could not be started'),
    StartupTimeout: trans.__('it did not start in time'),
    Unschedulable: trans.__('no machine is large enough'),
    Evicted: trans.__('the machine needed the room'),
    NodeLost: trans.__('the machine was lost'),
    Preempted: trans.__('something more urgent took its place'),
    DependencyFailed: trans.__('a job that it waits for failed'),
    NotApproved: trans.__('nobody approved it in time'),
    StorageError: trans.__('its output could not be stored'),
    BackendError: trans.__('the backend refused it'),
    HostRestarted: trans.__('the machine restarted'),
    DeletedExternally: trans.__('somebody removed it from outside'),
    Unknown: trans.__('nobody knows why')
  };
  return (reason && words[reason]) || reason || '';
}

/** The state in one line, for the eye and for a screen reader. Changes seldom: no times in it. */
export function stateLine(job: ITrainJob, trans: TranslationBundle): string {
  const { phase, reason, position } = job.status;
  if (!isFinal(job) && (job.spec.cancel || job.metadata.deletionTimestamp)) {
    return trans.__('Cancelling');
  }
  const words = phaseWords(phase, trans);
  const awaited = environment(job);
  if (awaited) {
    return awaited.reason === 'Building'
      ? trans.__('Building its environment')
      : trans.__('Waiting for its environment');
  }
  const gate = phase === 'Queued' ? gateWords(job, trans) : '';
  if (gate) {
    return gate;
  }
  if (phase === 'Queued' && position) {
    return trans.__('%1, number %2 in line', words, position);
  }
  if (phase === 'Failed' && reason) {
    return trans.__('%1: %2', words, reasonWords(reason, trans));
  }
  return words;
}

/** What keeps a job from standing in line, in a few words: what a person can do something about first. Empty: nothing. */
export function gateWords(job: ITrainJob, trans: TranslationBundle): string {
  const words: Record<IGate['type'], string> = {
    hold: trans.__('On hold'),
    approval: trans.__('Waits for approval'),
    dependency: trans.__('Waits for another job'),
    dataset: trans.__('Waits for its data'),
    sweep: trans.__('Waits for others of its sweep'),
    retry: trans.__('Waits to be tried again')
  };
  const types = Object.keys(words) as IGate['type'][];
  const type = types.find(one => hasGate(job, one));
  return type ? words[type] : '';
}

/** What there is to say below the state: why it waits, or how it ended. */
export function note(job: ITrainJob, trans: TranslationBundle): string {
  const { phase, waitingFor, message, estimatedStart } = job.status;
  const awaited = environment(job);
  if (awaited?.message) {
    return trans.__('It starts when its environment is there: %1', awaited.message);
  }
  if (phase === 'Queued') {
    const when = estimatedStart ? trans.__('Expected to start at %1.', clock(estimatedStart)) : '';
    return [waitingFor || message || '', when].filter(Boolean).join(' ');
  }
  return message ?? '';
}

/** What is amiss where it is true; of all other conditions it is the False that is. */
const BAD_IF_TRUE = ['Preempted'];

/** What is not as it should be, such as a log that is not complete or a job that is not isolated. */
export function warnings(job: ITrainJob): string[] {
  const bad = (type: string) => (BAD_IF_TRUE.includes(type) ? 'True' : 'False');
  const amiss = (job.status.conditions ?? []).filter(({ type, status }) => status === bad(type));
  return amiss.map(condition => condition.message ?? '').filter(Boolean);
}

export interface IBar {
  /** 0 to 1; null where nothing tells how far it is. */
  fraction: number | null;
  text: string;
}

/** The progress bar; null where there is none to show. */
export function bar(job: ITrainJob, trans: TranslationBundle): IBar | null {
  if (job.status.phase !== 'Running') {
    return null;
  }
  const progress: IProgress = job.status.progress ?? {};
  const cells = progress.cells ?? 0;
  const done = Math.min(progress.cellsDone ?? 0, cells);
  const told = progress.message ?? '';
  if (typeof progress.fraction === 'number') {
    return { fraction: progress.fraction, text: told || trans.__('%1 %', Math.floor(progress.fraction * 100)) };
  }
  if (cells > 1) {
    return { fraction: done / cells, text: told || trans.__('%1 of %2 cells', done, cells) };
  }
  return { fraction: null, text: told };
}

/**
 * Seconds that the code has run, or ran, or that its environment has been built; null before.
 * `nowMs` is the server's clock.
 */
export function elapsedSeconds(job: ITrainJob, nowMs: number): number | null {
  const awaited = environment(job);
  if (awaited?.reason === 'Building' && awaited.lastTransitionTime) {
    return Math.max(0, (nowMs - Date.parse(awaited.lastTransitionTime)) / 1000);
  }
  const attempt = latestAttempt(job);
  if (!attempt?.start) {
    return null;
  }
  const end = attempt.end ? Date.parse(attempt.end) : nowMs;
  return Math.max(0, (end - Date.parse(attempt.start)) / 1000);
}

/** `9 s`, `3 min 5 s`, `2 h 10 min`. */
export function duration(seconds: number, trans: TranslationBundle): string {
  const whole = Math.floor(seconds);
  if (whole < 60) {
    return trans.__('%1 s', whole);
  }
  if (whole < 3600) {
    return trans.__('%1 min %2 s', Math.floor(whole / 60), whole % 60);
  }
  return trans.__('%1 h %2 min', Math.floor(whole / 3600), Math.floor((whole % 3600) / 60));
}

/** What somebody asked for, to the second and without a part that is nothing: `5 min`, `1 h 30 min`. */
export function span(seconds: number, trans: TranslationBundle): string {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = Math.floor(seconds % 60);
  return [
    hours ? trans.__('%1 h', hours) : '',
    minutes ? trans.__('%1 min', minutes) : '',
    rest ? trans.__('%1 s', rest) : ''
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * What a verb of `%trainjob` takes after its name to find the job, with `more` behind the job's name. The verb looks in
 * the namespace `own` of the one who types it: another one, such as a course's, is named, and so it is where `own` is
 * not known (empty).
 */
export function address({ name, namespace }: Omit<IJobRef, 'uid'>, own: string, more = ''): string {
  return [name, more, ...(namespace === own ? [] : ['-n', namespace])].filter(Boolean).join(' ');
}

/** `812 B`, `1.4 MiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? count : count.toFixed(1)} ${units[unit]}`;
}

/** What the job asked for and, once it ended, used. */
export function needs(job: ITrainJob, trans: TranslationBundle): string {
  const { queue, resources = {}, timeLimitSeconds } = job.spec;
  const parts = [];
  if (resources.cpu) {
    parts.push(trans.__('%1 CPU', resources.cpu));
  }
  if (resources.memory) {
    parts.push(trans.__('%1 memory', resources.memory));
  }
  if (resources.gpu) {
    parts.push(trans.__('%1 GPU', resources.gpu));
  }
  if (timeLimitSeconds) {
    parts.push(trans.__('at most %1', span(timeLimitSeconds, trans)));
  }
  if (queue) {
    parts.push(trans.__('queue %1', queue));
  }
  const usage = latestAttempt(job)?.usage;
  if (isFinal(job) && usage?.peakMemoryBytes) {
    parts.push(
      trans.__('used %1 CPU seconds and %2', (usage.cpuSeconds ?? 0).toFixed(1), bytes(usage.peakMemoryBytes))
    );
  }
  return parts.join(' · ');
}

function clock(time: string): string {
  return new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}
