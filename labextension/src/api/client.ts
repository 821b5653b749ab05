import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { sentAs } from './exact';
import {
  IDraft,
  IFeedMessage,
  IFieldProblem,
  IInspection,
  IJobRef,
  IKernel,
  ILogChunk,
  ILogHits,
  IMade,
  IMe,
  IOutputs,
  IPage,
  IProfile,
  IQueue,
  ISeries,
  ITrainJob
} from './types';

const ROOT = 'trainjob/api/v1';

const POST: RequestInit = { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } };

/** The server dates an answer when it is asked: of one that took longer, the date tells nothing of the clock. */
const PROMPT_MS = 2_000;

const PAGE = 200;
const MANY = 1000;

/** An answer of the server that is an error, in its own words. */
export class ApiError extends Error {
  constructor(
    readonly code: number,
    message: string,
    readonly remedy = '',
    readonly details: IFieldProblem[] = [],
    /** When the server wants to be asked again; 0 where it does not say. */
    readonly retryAfterSeconds = 0
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** Whether the server (or what stands before it) can't answer now, but may later. */
  get passing(): boolean {
    return this.code === 0 || this.code === 502 || this.code === 503 || this.code === 504;
  }

  /** Whether asking again may be answered: the server was away, had too much to do, or failed this time. */
  get retryable(): boolean {
    return this.passing || this.code === 429 || this.code >= 500;
  }
}

/** What to tell a person of a failure: the server's words and its remedy. */
export function told(error: unknown): string {
  if (error instanceof ApiError) {
    return [error.message, error.remedy].filter(Boolean).join(' ');
  }
  return error instanceof Error ? error.message : String(error);
}

/** A text that is looked for in a log. */
export interface ILogQuery {
  text: string;
  /** A to Z are as a to z. */
  ignoreCase: boolean;
  offset: number;
  /** The first byte that is not looked at; without it, as far as the log has come. */
  end?: number;
  /** So many places are told, the rest are counted. */
  limit: number;
}

/** Which jobs, as the query of a list. */
export interface IJobQuery {
  owner?: string;
  queue?: string;
  phase?: string[];
  labelSelector?: string;
  q?: string;
  limit?: number;
  continue?: string;
}

/** The socket of the feed, as much of it as we use. */
export type FeedSocket = Pick<WebSocket, 'onopen' | 'onmessage' | 'onclose' | 'close'>;

/** Typed calls to the REST API. Every failure is an {@link ApiError}; code 0 means that no answer came. */
export class TrainJobClient {
  constructor(readonly settings: ServerConnection.ISettings = ServerConnection.makeSettings()) {}

  /** The server's clock, in milliseconds; as exact as its `Date` header, to a second. */
  now(): number {
    return Date.now() + this._skewMs;
  }

  async get(ref: IJobRef): Promise<ITrainJob> {
    return (await this._request(this._job(ref))).json();
  }

  /** The feed's version now: what changes after this call has a larger one. */
  async version(): Promise<number> {
    const list = await (await this._request(this._url('trainjobs') + '?limit=1')).json();
    return Number(list.metadata.resourceVersion);
  }

  /** Who is logged in, as the owner of jobs. */
  async username(): Promise<string> {
    return (await this.me()).username;
  }

  /** Who is logged in, what they may do, and what their limits are. */
  async me(): Promise<IMe> {
    return this._json('me');
  }

  /** The namespace where the one who is logged in looks without naming one; empty where the server does not tell. Asked once. */
  async ownNamespace(): Promise<string> {
    this._own ??= this.me().then(me => ownNamespaceOf(me));
    try {
      return await this._own;
    } catch (error) {
      this._own = null;
      if (error instanceof ApiError) {
        return '';
      }
      throw error;
    }
  }

  /** A page of jobs of all namespaces that one may see, newest first. */
  async list(query: IJobQuery): Promise<IPage<ITrainJob>> {
    const { phase = [], ...rest } = query;
    const phases = phase.map(one => `&phase=${one}`).join('');
    return (await this._request(this._url('trainjobs') + URLExt.objectToQueryString(rest) + phases)).json();
  }

  async queues(): Promise<IQueue[]> {
    return (await this._json<IPage<IQueue>>('queues')).items;
  }

  /** Puts a queue in its place; where somebody changed it since it was read, an {@link ApiError} of code 409. */
  async replaceQueue(queue: IQueue): Promise<IQueue> {
    return (await this._request(this._url('queues', queue.metadata.name), sending('PUT', queue))).json();
  }

  async profiles(): Promise<IProfile[]> {
    return (await this._json<IPage<IProfile>>('profiles')).items;
  }

  async kernels(): Promise<IKernel[]> {
    return (await this._json<{ kernels: IKernel[] }>('kernels')).kernels;
  }

  /** The JSON Schema of a kind. */
  async schema(kind: string): Promise<Record<string, unknown>> {
    return this._json('schemas', kind);
  }

  /** Makes a job; with `dryRun` only tells what it would be, and when it would run. */
  async submit(namespace: string, draft: IDraft, dryRun = false): Promise<ITrainJob> {
    const url = this._url('namespaces', namespace, 'trainjobs') + (dryRun ? '?dryRun=true' : '');
    return (await this._request(url, sending('POST', draft))).json();
  }

  /** Makes one job of each point, or none. */
  async submitPoints(namespace: string, template: IDraft, points: object[], maxParallel?: number): Promise<IMade> {
    const body = { template, points, ...(maxParallel !== undefined && { maxParallel }) };
    return (await this._request(this._url('namespaces', namespace, 'batches'), sending('POST', body))).json();
  }

  /** What a draft's code is, what parameters it takes, and what is wrong so far. */
  async inspect(draft: IDraft): Promise<IInspection> {
    return (await this._request(this._url('inspect'), sending('POST', draft))).json();
  }

  /** Uploads bytes under their digest (`sha256:…`), unless they are there. */
  async upload(digest: string, data: Uint8Array<ArrayBuffer>): Promise<void> {
    const url = this._url('blobs', digest);
    try {
      await this._request(url, { method: 'HEAD' });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) {
        throw error;
      }
      const headers = { 'Content-Type': 'application/octet-stream' };
      await this._request(url, { method: 'PUT', body: data, headers });
    }
  }

  /** Jobs of `owner` that have not ended, newest first; of very many the newest {@link MANY}. */
  async unfinished(owner: string): Promise<ITrainJob[]> {
    const phases = ['Queued', 'Admitted', 'Running'].map(phase => `&phase=${phase}`).join('');
    const url = this._url('trainjobs') + URLExt.objectToQueryString({ owner, limit: PAGE }) + phases;
    const found: ITrainJob[] = [];
    let next = '';
    do {
      const page = next && `&continue=${encodeURIComponent(next)}`;
      const list: { items: ITrainJob[]; metadata: { continue?: string } } = await (
        await this._request(url + page)
      ).json();
      found.push(...list.items);
      next = list.metadata.continue ?? '';
    } while (next && found.length < MANY);
    return found;
  }

  /** Jobs with a label, newest first. */
  async labelled(namespace: string, selector: string): Promise<ITrainJob[]> {
    const query = URLExt.objectToQueryString({ labelSelector: selector, limit: 10 });
    const list = await (await this._request(this._url('namespaces', namespace, 'trainjobs') + query)).json();
    return list.items;
  }

  async cancel(ref: IJobRef): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'cancel'), POST)).json();
  }

  async hold(ref: IJobRef): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'hold'), POST)).json();
  }

  async release(ref: IJobRef): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'release'), POST)).json();
  }

  /** Lets it be the first of its queue. */
  async front(ref: IJobRef): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'front'), POST)).json();
  }

  /** Lets it go beyond its owner's limits. */
  async approve(ref: IJobRef, message: string): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'approve'), sending('POST', { message }))).json();
  }

  /** Ends it without having run, where it waits for an approval. */
  async reject(ref: IJobRef, message: string): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'reject'), sending('POST', { message }))).json();
  }

  /** Changes labels (null removes one) or the priority. */
  async patch(ref: IJobRef, change: IJobChange): Promise<ITrainJob> {
    const { labels, priority } = change;
    const body = { ...(labels && { metadata: { labels } }), ...(priority !== undefined && { spec: { priority } }) };
    return (await this._request(this._job(ref), sending('PATCH', body))).json();
  }

  async remove(ref: IJobRef): Promise<void> {
    await this._request(this._job(ref), { method: 'DELETE' });
  }

  /** Logged metrics, each thinned out to at most so many points. */
  async series(ref: IJobRef, maxPoints: number): Promise<ISeries> {
    return (await this._request(this._job(ref, 'metrics', 'series') + `?maxPoints=${maxPoints}`)).json();
  }

  /** Waits at most so long, or until `signal`, for more than so many bytes of logged points; how many there are. */
  async logged(ref: IJobRef, bytes: number, waitSeconds: number, signal?: AbortSignal): Promise<number> {
    const asked = `?offset=${bytes}&limit=1&wait=${waitSeconds}`;
    const response = await this._request(this._job(ref, 'metrics') + asked, { signal });
    return Number(response.headers.get('X-Log-Size') ?? 0);
  }

  /** A file's bytes, as far as `limit` goes. */
  async file(ref: IJobRef, path: string, limit: number): Promise<ArrayBuffer> {
    const headers = { Range: `bytes=0-${limit - 1}` };
    return (await this._request(this.fileUrl(ref, path), { headers })).arrayBuffer();
  }

  /** The new job. */
  async retry(ref: IJobRef): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'retry'), POST)).json();
  }

  /** At most `limit` bytes from `offset`, of what is there now. */
  async log(ref: IJobRef, offset: number, limit: number, wait = 0): Promise<ILogChunk> {
    const waiting = wait ? `&wait=${wait}` : '';
    const response = await this._request(this._job(ref, 'log') + `?offset=${offset}&limit=${limit}${waiting}`);
    const data = new Uint8Array(await response.arrayBuffer());
    const from = Number(response.headers.get('X-Log-Offset') ?? offset);
    const gap = /^(\d+)-(\d+)$/.exec(response.headers.get('X-Log-Gap') ?? '');
    return {
      data,
      offset: from,
      nextOffset: Number(response.headers.get('X-Log-Next-Offset') ?? from + data.length),
      size: Number(response.headers.get('X-Log-Size') ?? 0),
      complete: response.headers.get('X-Log-Complete') === 'true',
      ...(gap && { gap: [Number(gap[1]), Number(gap[2])] })
    };
  }

  /** Where a text stands in a log, of as much as the server looks at in a moment. */
  async searchLog(ref: IJobRef, { text, ignoreCase, offset, end, limit }: ILogQuery): Promise<ILogHits> {
    const query = { text, ignoreCase: String(ignoreCase), offset: String(offset), limit: String(limit) };
    const asked = URLExt.objectToQueryString(end === undefined ? query : { ...query, end: String(end) });
    return (await this._request(this._job(ref, 'log', 'search') + asked)).json();
  }

  async outputs(ref: IJobRef): Promise<IOutputs> {
    return (await this._request(this._job(ref, 'outputs'))).json();
  }

  /** The executed notebook (nbformat JSON). */
  async notebook(ref: IJobRef): Promise<{ cells: { metadata?: Record<string, unknown> }[] }> {
    return (await this._request(this._job(ref, 'outputs', 'notebook'))).json();
  }

  fileUrl(ref: IJobRef, path: string): string {
    return this._job(ref, 'outputs', 'files', ...path.split('/'));
  }

  /** Notebook, results and files in one tar. */
  archiveUrl(ref: IJobRef): string {
    return this._job(ref, 'outputs', 'archive');
  }

  resultUrl(ref: IJobRef, name: string): string {
    return this._job(ref, 'outputs', 'results', name);
  }

  /** Opens the feed after version `since`. */
  openFeed(since: number): FeedSocket {
    const { wsUrl, token, appendToken } = this.settings;
    const query: Record<string, string> = { since: String(since), kind: 'TrainJob' };
    if (appendToken && token) {
      query.token = token;
    }
    const url = URLExt.join(wsUrl, ROOT, 'changes', 'stream') + URLExt.objectToQueryString(query);
    return new this.settings.WebSocket(url);
  }

  private _job(ref: IJobRef, ...rest: string[]): string {
    return this._url('namespaces', ref.namespace, 'trainjobs', ref.uid, ...rest);
  }

  private _url(...parts: string[]): string {
    return URLExt.join(this.settings.baseUrl, ROOT, ...parts.map(encodeURIComponent));
  }

  private async _json<T>(...parts: string[]): Promise<T> {
    return (await this._request(this._url(...parts))).json();
  }

  private async _request(url: string, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    const asked = Date.now();
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
    } catch (error) {
      throw new ApiError(0, String(error));
    }
    const now = Date.now();
    if (now - asked < PROMPT_MS) {
      const skew = Date.parse(response.headers.get('Date') ?? '') - now;
      this._skewMs = Math.abs(skew) > 2000 ? skew : 0;
    }
    if (!response.ok) {
      throw await apiError(response);
    }
    return response;
  }

  private _skewMs = 0;
  private _own: Promise<string> | null = null;
}

/** The namespace that is one's own. */
export function ownNamespaceOf({ namespaces, username }: Pick<IMe, 'namespaces' | 'username'>): string {
  return namespaces.find(({ role }) => role === 'own')?.name ?? username;
}

/** What may be changed in a job. */
export interface IJobChange {
  labels?: Record<string, string | null>;
  priority?: number;
}

function sending(method: string, body: unknown): RequestInit {
  return { method, body: sentAs(body), headers: { 'Content-Type': 'application/json' } };
}

async function apiError(response: Response): Promise<ApiError> {
  const text = await response.text();
  const wait = Number(response.headers.get('Retry-After')) || 0; // a date, which it may be too, is left to us
  try {
    const status = JSON.parse(text);
    const details: IFieldProblem[] = Array.isArray(status.details) ? status.details : [];
    return new ApiError(response.status, String(status.message ?? text), String(status.remedy ?? ''), details, wait);
  } catch {
    // not ours: a proxy's page, or a server without the extension
    return new ApiError(response.status, `${response.status} ${response.statusText}`.trim(), '', [], wait);
  }
}

/** What came over the feed's socket; an error that the server sends there has `code`. */
export function parseFeed(data: unknown): IFeedMessage | { code: number } {
  return JSON.parse(String(data));
}
