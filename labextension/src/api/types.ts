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
  backend?: string;
  admitted?: string;
  /** When the user's code began, RFC 3339. */
  start?: string;
  end?: string;
  reason?: string;
  message?: string;
  node?: string;
  isolation?: string;
  usage?: IUsage;
  error?: ICodeError;
}

export interface IProgress {
  cellsDone?: number;
  cells?: number;
  /** The cell that runs now. */
  cellId?: string;
  /** 0 to 1. */
  fraction?: number;
  message?: string;
}

export interface ITrainJobStatus {
  phase: Phase;
  reason?: string;
  message?: string;
  /** Since when it waits, RFC 3339. */
  queued?: string;
  finished?: string;
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

/** What keeps a job from standing in line. */
export interface IGate {
  type: 'hold' | 'dependency' | 'approval' | 'dataset' | 'sweep' | 'retry';
  message?: string;
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
    source?: { type: string; code?: string; path?: string; entry?: string };
    parameters?: Record<string, unknown>;
    profile?: string;
    queue?: string;
    priority?: number;
    schedulingGates?: IGate[];
    resources?: { cpu?: string; memory?: string; gpu?: number };
    timeLimitSeconds?: number;
    /** Its owner wants to be told of its end. */
    notify?: boolean;
    cancel?: { by?: string; message?: string };
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

/** What may be in use at once; what is left out has no limit. */
export interface ILimits {
  runningJobs?: number | null;
  cpu?: string | null;
  memory?: string | null;
  gpu?: number | null;
}

/** What may be spent in each window. */
export interface IBudget {
  coreHours: number;
  windowSeconds?: number;
}

export interface IQueueUse {
  runningJobs: number;
  queuedJobs: number;
  cpu: string;
  memory: string;
  gpu: number;
}

/** A queue. Servers tell more or less of it: every field of the spec may be missing. */
export interface IQueue {
  kind: 'Queue';
  metadata: {
    name: string;
    resourceVersion: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: {
    description?: string;
    backend?: string;
    kueue?: { localQueue: string } | null;
    parent?: string;
    weight?: number;
    limits?: ILimits;
    guaranteed?: ILimits;
    perUser?: ILimits;
    budget?: IBudget | null;
    perUserBudget?: IBudget | null;
    /** A job beyond what one may have waits for an instructor's word. */
    approval?: { withinSeconds?: number } | null;
    queuedPerUser?: number | null;
    maxTimeLimitSeconds?: number | null;
    priorities?: { minimum: number; maximum: number };
    admission?: 'Open' | 'Paused' | 'Draining';
  };
  status: { use?: IQueueUse; mine?: IQueueUse };
}

export interface IProfile {
  metadata: { name: string };
  spec: {
    description?: string;
    queue?: string;
    environment?: { language?: string };
    defaults?: Record<string, string | number | null>;
    maximum?: Record<string, string | number | null>;
    timeLimitSeconds?: number;
    maxTimeLimitSeconds?: number | null;
  };
}

export interface IKernel {
  backend: string;
  name: string;
  language: string;
  displayName: string;
}

/** Verbs on a kind: in a namespace, in a queue, or everywhere. */
export interface IPermission {
  kind: string;
  verbs: string[];
  namespace?: string;
  queue?: string;
}

export interface IMe {
  username: string;
  displayName: string;
  operator: boolean;
  namespaces: { name: string; role: string }[];
  permissions: IPermission[];
  limits: {
    queues: { queue: string; queuedJobs: number | null; perUser: ILimits; maxTimeLimitSeconds: number | null }[];
  };
  use: ({ queue: string } & IQueueUse)[];
}

/** What a bad field of a request is. */
export interface IFieldProblem {
  field: string;
  message: string;
  remedy?: string;
}

export interface IParameter {
  name: string;
  type: string;
  /** As a parameter's value; absent where nobody can tell it. */
  default?: unknown;
  /** The default as it is written. */
  expression: string;
  help: string;
}

export interface IInspection {
  language: string;
  kernel: string;
  parameters: IParameter[];
  problems: IFieldProblem[];
}

/** What one sends to submit a job. */
export interface IDraft {
  apiVersion: 'jupyter-trainjob/v1';
  kind: 'TrainJob';
  metadata: { namespace?: string; generateName?: string; labels?: Record<string, string> };
  spec: Record<string, unknown>;
}

/** What was made of a sweep: its name, and its jobs. */
export interface IMade {
  sweep: string;
  items: { name: string; uid: string }[];
}

/** One metric's points, thinned out; see the server's `points.py`. */
export interface IMetric {
  count: number;
  /** A value that is no finite number is null. */
  last: number | null;
  minimum: number | null;
  maximum: number | null;
  points: [step: number, value: number | null, seconds: number][];
}

export interface ISeries {
  attempt: number | null;
  metrics: Record<string, IMetric>;
  complete: boolean;
}

/** A page of a list. */
export interface IPage<T> {
  items: T[];
  metadata: { resourceVersion: string; continue?: string };
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
  /** The bytes [a, b) were left out by the cap. */
  gap?: [number, number];
}

/** Where a text stands in a log. */
export interface ILogHits {
  /** The first so many as were asked for. */
  offsets: number[];
  /** Of all. */
  count: number;
  /** Where to ask on; null where all was looked at. */
  nextOffset: number | null;
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

export function isHeld(job: ITrainJob): boolean {
  return hasGate(job, 'hold');
}

export function hasGate(job: ITrainJob, type: IGate['type']): boolean {
  return !!job.spec.schedulingGates?.some(gate => gate.type === type);
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
