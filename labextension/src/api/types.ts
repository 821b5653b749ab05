/** The resources as the server sends them; only what the front end reads. `docs/architecture.md` holds the contract. */

export type Phase = 'Queued' | 'Admitted' | 'Running' | 'Succeeded' | 'Failed' | 'Cancelled';

export interface ICondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export interface ICodeError {
  ename: string;
  evalue?: string;
  traceback?: string;
  line?: number;
}

export interface IUsage {
  cpuSeconds?: number;
  peakMemoryBytes?: number;
}

export interface IAttempt {
  number: number;
  /** When the user's code began, RFC 3339. */
  start?: string;
  end?: string;
  isolation?: string;
  usage?: IUsage;
  error?: ICodeError;
}

export interface IProgress {
  cellsDone?: number;
  cells?: number;
  /** 0 to 1. */
  fraction?: number;
  message?: string;
}

export interface ITrainJobStatus {
  phase: Phase;
  reason?: string;
  message?: string;
  conditions?: ICondition[];
  attempts?: IAttempt[];
  progress?: IProgress;
  log?: { size?: number; complete?: boolean };
  /** Of a job that has ended. */
  outputs?: { notebook?: boolean; results?: object[]; filesTotal?: number };
  /** In its queue, from 1. Only in answers to GET, not in the feed. */
  position?: number;
  waitingFor?: string;
  estimatedStart?: string;
}

export interface ITrainJob {
  kind: 'TrainJob';
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    owner?: string;
    creationTimestamp?: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
  };
  spec: {
    queue?: string;
    resources?: { cpu?: string; memory?: string; gpu?: number };
    timeLimitSeconds?: number;
    /** Its owner wants to be told of its end. */
    notify?: boolean;
    cancel?: object;
  };
  status: ITrainJobStatus;
}

/** Which job; all that a notebook keeps of it. */
export interface IJobRef {
  uid: string;
  namespace: string;
  name: string;
}

export function refOf(job: ITrainJob): IJobRef {
  const { uid, namespace, name } = job.metadata;
  return { uid, namespace, name };
}

export interface IOutputs {
  notebook: boolean;
  results: { name: string; size?: number; type?: string; format?: string; error?: string }[];
  files: { path: string; size: number }[];
  filesTotal: number;
}

/** Bytes of a log, from `offset` (later than asked for where a gap lies) to `nextOffset`. */
export interface ILogChunk {
  data: Uint8Array;
  offset: number;
  nextOffset: number;
  size: number;
  complete: boolean;
}

export interface IChange {
  version: number;
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  object: ITrainJob;
}

export interface IFeedMessage {
  changes: IChange[];
  version: number;
}

export function isFinal(job: ITrainJob): boolean {
  return ['Succeeded', 'Failed', 'Cancelled'].includes(job.status.phase);
}

/** Whether there is an executed notebook: of a job that still runs, once its first cell is done. */
export function hasNotebook(job: ITrainJob): boolean {
  const { phase, outputs, progress } = job.status;
  return isFinal(job) ? !!outputs?.notebook : phase === 'Running' && (progress?.cellsDone ?? 0) > 0;
}

/** How far the environment is that a queued job waits for, and since when: its reason is Building or Waiting. */
export function environment(job: ITrainJob): ICondition | undefined {
  const told = (job.status.conditions ?? []).find(condition => condition.type === 'EnvironmentReady');
  const waits = job.status.phase === 'Queued' && !job.spec.cancel;
  return waits && told?.status === 'Unknown' ? told : undefined;
}

export function latestAttempt(job: ITrainJob): IAttempt | undefined {
  return job.status.attempts?.[job.status.attempts.length - 1];
}
