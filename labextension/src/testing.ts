/** What several tests use. Not part of the extension: nothing imports it there. */
import { nullTranslator } from '@jupyterlab/translation';

import { ApiError, FeedSocket, IJobQuery } from './api/client';
import { IJobRef, IPage, isFinal, ITrainJob, ITrainJobStatus } from './api/types';

export const trans = nullTranslator.load('jupyter_trainjob');

export const UID = '0f8fad5b-d9cb-469f-a165-70867728950e';

/** A job with this status; `version` is its resourceVersion. */
export function makeJob(status: Partial<ITrainJobStatus> = {}, version = 1, uid = UID): ITrainJob {
  return {
    kind: 'TrainJob',
    metadata: { name: 'digits-x7k2p', namespace: 'ada', owner: 'ada', uid, resourceVersion: String(version) },
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

/** The server's side of a socket. */
export class Socket implements FeedSocket {
  constructor(readonly since: number) {}
  onopen: FeedSocket['onopen'] = null;
  onmessage: FeedSocket['onmessage'] = null;
  onclose: FeedSocket['onclose'] = null;
  closed = false;

  close(): void {
    this.closed = true;
  }

  open(): void {
    this.onopen?.call(this as unknown as WebSocket, new Event('open'));
  }

  tell(version: number, ...jobs: { type?: string; object: ITrainJob }[]): void {
    const changes = jobs.map(({ type = 'MODIFIED', object }) => ({ type, version, object }));
    this.send({ changes, version });
  }

  send(message: unknown): void {
    const event = new MessageEvent('message', { data: JSON.stringify(message) });
    this.onmessage?.call(this as unknown as WebSocket, event);
  }

  break(code = 1006): void {
    this.onclose?.call(this as unknown as WebSocket, { code } as CloseEvent);
  }
}

/** A record of jobs with the client's face; the one who asks is ada. */
export class Server {
  jobs = new Map<string, ITrainJob>();
  feedVersion = 10;
  away = false;
  gets = 0;
  lists = 0;
  sockets: Socket[] = [];

  version = (): Promise<number> => (this.away ? this._no() : Promise.resolve(this.feedVersion));

  get = (ref: IJobRef): Promise<ITrainJob> => {
    this.gets += 1;
    if (this.away) {
      return this._no();
    }
    const job = this.jobs.get(ref.uid);
    return job ? Promise.resolve(job) : Promise.reject(new ApiError(404, 'no such job'));
  };

  username = (): Promise<string> => (this.away ? this._no() : Promise.resolve('ada'));

  ownNamespace = (): Promise<string> => Promise.resolve(this.away ? '' : 'ada');

  unfinished = (owner: string): Promise<ITrainJob[]> => {
    this.lists += 1;
    const mine = [...this.jobs.values()].filter(job => job.metadata.owner === owner && !isFinal(job));
    return this.away ? this._no() : Promise.resolve(mine);
  };

  /** A page of jobs; `continue` is where the next begins. */
  list = (query: IJobQuery): Promise<IPage<ITrainJob>> => {
    if (this.away) {
      return this._no();
    }
    const passing = [...this.jobs.values()].filter(
      job =>
        (!query.owner || job.metadata.owner === query.owner) &&
        (!query.phase?.length || query.phase.includes(job.status.phase))
    );
    const from = Number(query.continue ?? 0);
    const to = from + (query.limit ?? 100);
    const more = to < passing.length ? { continue: String(to) } : {};
    return Promise.resolve({
      items: passing.slice(from, to),
      metadata: { resourceVersion: String(this.feedVersion), ...more }
    });
  };

  openFeed = (since: number): FeedSocket => {
    const socket = new Socket(since);
    this.sockets.push(socket);
    return socket;
  };

  get socket(): Socket {
    return this.sockets[this.sockets.length - 1];
  }

  private _no(): Promise<never> {
    return Promise.reject(new ApiError(0, 'no answer'));
  }
}
