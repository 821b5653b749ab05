/** What several tests use. Not part of the extension: nothing imports it there. */
import { nullTranslator } from '@jupyterlab/translation';

import { ITrainJob, ITrainJobStatus } from './api/types';

export const trans = nullTranslator.load('jupyter_trainjob');

export const UID = '0f8fad5b-d9cb-469f-a165-70867728950e';

/** A job with this status; `version` is its resourceVersion. */
export function makeJob(status: Partial<ITrainJobStatus> = {}, version = 1, uid = UID): ITrainJob {
  return {
    kind: 'TrainJob',
    metadata: { name: 'digits-x7k2p', namespace: 'ada', uid, resourceVersion: String(version) },
    spec: { queue: 'default', resources: { cpu: '1', memory: '1Gi' }, timeLimitSeconds: 300 },
    status: { phase: 'Queued', ...status }
  };
}

/** Lets promises that are already settled run their continuations. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await Promise.resolve();
  }
}
