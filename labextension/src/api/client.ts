import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { IFeedMessage, IJobRef, ILogChunk, IOutputs, ITrainJob } from './types';

const ROOT = 'trainjob/api/v1';

const POST: RequestInit = { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } };

const PAGE = 200;
const MANY = 1000;

/** An answer of the server that is an error, in its own words. */
export class ApiError extends Error {
  constructor(
    readonly code: number,
    message: string,
    readonly remedy = ''
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** Whether the server (or what stands before it) can't answer now, but may later. */
  get passing(): boolean {
    return this.code === 0 || this.code === 502 || this.code === 503 || this.code === 504;
  }
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
    return String((await (await this._request(this._url('me'))).json()).username);
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

  /** The new job. */
  async retry(ref: IJobRef): Promise<ITrainJob> {
    return (await this._request(this._job(ref, 'retry'), POST)).json();
  }

  /** At most `limit` bytes from `offset`, of what is there now. */
  async log(ref: IJobRef, offset: number, limit: number): Promise<ILogChunk> {
    const response = await this._request(this._job(ref, 'log') + `?offset=${offset}&limit=${limit}`);
    const data = new Uint8Array(await response.arrayBuffer());
    const from = Number(response.headers.get('X-Log-Offset') ?? offset);
    return {
      data,
      offset: from,
      nextOffset: Number(response.headers.get('X-Log-Next-Offset') ?? from + data.length),
      size: Number(response.headers.get('X-Log-Size') ?? 0),
      complete: response.headers.get('X-Log-Complete') === 'true'
    };
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

  private async _request(url: string, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
    } catch (error) {
      throw new ApiError(0, String(error));
    }
    const skew = Date.parse(response.headers.get('Date') ?? '') - Date.now();
    this._skewMs = Math.abs(skew) > 2000 ? skew : 0;
    if (!response.ok) {
      throw await apiError(response);
    }
    return response;
  }

  private _skewMs = 0;
}

async function apiError(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const status = JSON.parse(text);
    return new ApiError(response.status, String(status.message ?? text), String(status.remedy ?? ''));
  } catch {
    // not ours: a proxy's page, or a server without the extension
    return new ApiError(response.status, `${response.status} ${response.statusText}`.trim());
  }
}

/** What came over the feed's socket; an error that the server sends there has `code`. */
export function parseFeed(data: unknown): IFeedMessage | { code: number } {
  return JSON.parse(String(data));
}
