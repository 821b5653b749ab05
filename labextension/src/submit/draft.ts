/** Options made into the TrainJob to send, as the Python client makes it: pure. */
import { IDraft } from '../api/types';
import { ILineOptions, pair, seconds, splitNames, whole } from './options';
import { LineError } from './problem';
import { parameterValue } from './values';

const ENDS = ['succeeded', 'finished', 'failed'];

/** What the options name and only the one who can read files knows: uploads by digest. */
export interface ICollected {
  inputs?: object[];
  requirements?: { format: string; digest: string };
}

/** What is not given is left out, so that profile and server decide. */
export function draftOf(source: object, options: ILineOptions, name: string, more: ICollected = {}): IDraft {
  const text = (option: string) => options[option] as string | undefined;
  const texts = (option: string) => (options[option] as string[] | undefined) ?? [];
  const number = (option: string) => (text(option) === undefined ? undefined : whole(text(option)!));
  const pairs = (option: string, read: (value: string) => unknown = value => value) =>
    Object.fromEntries(
      texts(option)
        .map(one => pair(one, option))
        .map(([key, value]) => [key, read(value)])
    );
  if (texts('in').length) {
    throw new LineError(trans =>
      trans.__('--in sends variables of a Python kernel along; here none is asked. Use --param or --files.')
    );
  }
  const gates: object[] = options.hold ? [{ type: 'hold' }] : [];
  gates.push(...splitNames(texts('depends-on')).map(dependency));
  const retries = number('retries');
  const spec = filled({
    source,
    parameters: pairs('param', parameterValue),
    inputs: [...texts('input').map(inputOf), ...texts('uri').map(uriOf), ...(more.inputs ?? [])],
    outputs: filled({ names: splitNames(texts('out')), keep: splitNames(texts('keep')) }),
    environment: filled({
      kernel: text('kernel'),
      image: text('image'),
      env: Object.entries(pairs('env')).map(([key, value]) => ({ name: key, value })),
      requirements: more.requirements
    }),
    profile: text('profile'),
    queue: text('queue'),
    resources: filled({
      cpu: text('cpu'),
      memory: text('memory'),
      gpu: number('gpu'),
      shm: text('shm'),
      disk: text('disk')
    }),
    timeLimitSeconds: text('time-limit') ? seconds(text('time-limit')!) : undefined,
    priority: number('priority'),
    volumes: texts('volume').map(volumeOf),
    schedulingGates: gates,
    retries: retries ? { limit: retries, ...(options['retry-errors'] && { onCodeError: true }) } : undefined,
    preemptible: options.preemptible,
    network: text('network') ? { mode: text('network') } : undefined,
    notify: options.notify
  });
  const metadata = filled({ generateName: text('name') ?? name, labels: pairs('label') }) as IDraft['metadata'];
  return { apiVersion: 'jupyter-trainjob/v1', kind: 'TrainJob', metadata, spec };
}

/** Without what says nothing. */
export function filled(data: Record<string, unknown>): Record<string, unknown> {
  const empty = (value: unknown) =>
    value === undefined ||
    value === null ||
    value === '' ||
    (typeof value === 'object' && Object.keys(value).length === 0);
  return Object.fromEntries(Object.entries(data).filter(([, value]) => !empty(value)));
}

/** A short name made of a file's name: `My Notebook.ipynb` → `my-notebook`. */
export function readableName(path: string): string {
  const stem = (path.split('/').pop() ?? '').replace(/\.[^.]*$/, '');
  const name = stem
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 57);
  return name.replace(/-+$/, '') || 'job';
}

function dependency(text: string): object {
  const at = text.lastIndexOf(':');
  const [job, end] = at < 0 ? [text, 'succeeded'] : [text.slice(0, at), text.slice(at + 1)];
  if (!ENDS.includes(end)) {
    throw new LineError(trans =>
      trans.__("--depends-on %1: '%2' is no end of a job. Write one of %3.", text, end, ENDS.join(', '))
    );
  }
  return { type: 'dependency', job, condition: end };
}

/** `home:/mnt/me:rw`; without `rw` it is only read. */
export function volumeOf(text: string): object {
  const [name, ...rest] = text.trim().split(':');
  const modes = rest.filter(part => part === 'ro' || part === 'rw');
  const places = rest.filter(part => part.startsWith('/'));
  if (
    !name ||
    name.includes('/') ||
    modes.length > 1 ||
    places.length > 1 ||
    modes.length + places.length < rest.length
  ) {
    throw new LineError(trans =>
      trans.__("--volume %1: this can't be read. Write NAME, NAME:rw, NAME:/mnt/place or NAME:/mnt/place:rw.", text)
    );
  }
  return { name, readOnly: modes[0] !== 'rw', ...(places.length && { mountPath: places[0] }) };
}

/** `what=place`, of which the place may be left out. */
function placed(text: string): [string, string] {
  const at = text.lastIndexOf('=');
  return at > 0 && at < text.length - 1 ? [text.slice(0, at), text.slice(at + 1).replace(/\/+$/, '')] : [text, ''];
}

/** `JOB:FILE`, and `=PATH` behind it for another place; an address is one of data from elsewhere. */
export function inputOf(text: string): object {
  if (text.split('=')[0].includes('://')) {
    return uriOf(text);
  }
  const [what, place] = placed(text);
  const at = what.indexOf(':');
  const job = what.slice(0, Math.max(0, at)).trim();
  let file = what.slice(at + 1).trim();
  if (!job || !file) {
    throw new LineError(trans =>
      trans.__(
        '--input %1: this names no file of a job. Write JOB:FILE, a folder as JOB:FOLDER, all files as JOB:.',
        text
      )
    );
  }
  file = file.replace(/^\/+|\/+$/g, '') === '' || file === '.' ? '.' : file.replace(/\/+$/, '');
  return { type: 'output', job, file, path: place || (file === '.' ? job : file) };
}

/** An address, and `=PATH` behind it for its place. */
export function uriOf(text: string): object {
  let [address, place] = text.includes('?') ? [text, ''] : placed(text);
  const query = /^(.*\?.*=[^&=]*)=([^=]+)$/.exec(address);
  if (query) {
    [address, place] = [query[1], query[2]];
  }
  let path = '';
  try {
    path = decodeURIComponent(new URL(address).pathname.split('/').pop() ?? '');
  } catch {
    throw new LineError(trans =>
      trans.__('--uri %1: this is no address. Write https://host/path/file or file:///path/file.', text)
    );
  }
  if (!place && !path) {
    throw new LineError(trans =>
      trans.__('--uri %1: it tells no file name. Say where it shall be: --uri ADDRESS=data/train.csv.', text)
    );
  }
  return { type: 'uri', uri: address, path: place || path };
}
