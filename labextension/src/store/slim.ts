import { isFinal, ITrainJob } from '../api/types';

/** A job without the parts that can be large and that no list shows: its code, its files, its traceback. */
export function slim(job: ITrainJob): ITrainJob {
  const { metadata, spec, status } = job;
  const { name, namespace, uid, resourceVersion, owner, creationTimestamp, deletionTimestamp, labels } = metadata;
  const { queue, profile, priority, resources, timeLimitSeconds, notify, cancel, parameters, schedulingGates } = spec;
  const { phase, reason, message, queued, finished, conditions, progress, position, waitingFor, estimatedStart } =
    status;
  const attempts = status.attempts?.slice(-1).map(({ number, start, end, usage }) => ({ number, start, end, usage }));
  const outputs = status.outputs && {
    notebook: status.outputs.notebook,
    results: status.outputs.results?.length ? [{}] : [],
    filesTotal: status.outputs.filesTotal
  };
  const amiss = conditions?.filter(condition => condition.status !== 'True');
  return {
    kind: 'TrainJob',
    metadata: { name, namespace, uid, resourceVersion, owner, creationTimestamp, deletionTimestamp, labels },
    spec: { queue, profile, priority, resources, timeLimitSeconds, notify, cancel, parameters, schedulingGates },
    status: {
      phase,
      reason,
      message,
      queued,
      finished,
      conditions: amiss,
      attempts,
      progress: isFinal(job) ? undefined : progress,
      outputs,
      ...(phase === 'Queued' && { position, waitingFor, estimatedStart })
    }
  };
}
