import { PathExt } from '@jupyterlab/coreutils';
import { Contents, ServerConnection } from '@jupyterlab/services';

import { TrainJobClient } from '../api/client';
import { ICollected } from './draft';
import { globTest, placeOf } from './glob';
import { ILineOptions, splitNames } from './options';
import { LineError, problemWords } from './problem';
import { digestOf } from './sha256';

/** A browser is no copy program: more is sent by the Python client. */
const MOST_FILES = 500;
const MOST_BYTES = 100 * 1024 * 1024;
/** Nor does it look through more than this for them. */
const MOST_SEEN = 10 * MOST_FILES;

const FORMATS: [RegExp, string][] = [
  [/\.txt$/, 'requirements.txt'],
  [/\.lock$/, 'renv.lock'],
  [/\.ivy$/, 'ivy']
];

/** Uploads the files that `--files` and `--requirements` name, from below `folder` of what Jupyter shows. */
export async function collect(
  options: ILineOptions,
  folder: string,
  contents: Contents.IManager,
  client: TrainJobClient
): Promise<ICollected> {
  const found: ICollected = {};
  const patterns = splitNames((options.files as string[] | undefined) ?? []);
  if (patterns.length) {
    found.inputs = [];
    for (const path of await matching(patterns, folder, contents)) {
      const digest = await send(await bytesOf('--files', path, folder, contents), client);
      found.inputs.push({ type: 'upload', digest, path });
    }
  }
  const list = options.requirements as string | undefined;
  if (list) {
    const format = FORMATS.find(([suffix]) => suffix.test(list))?.[1];
    if (!format) {
      throw new LineError(trans => trans.__('--requirements %1: it must end in .txt, .lock (renv) or .ivy.', list));
    }
    const digest = await send(await bytesOf('--requirements', list, folder, contents), client);
    found.requirements = { format, digest };
  }
  return found;
}

/** Uploads bytes; their digest. */
export async function send(data: Uint8Array<ArrayBuffer>, client: TrainJobClient): Promise<string> {
  const digest = await digestOf(data);
  await client.upload(digest, data);
  return digest;
}

async function matching(patterns: string[], folder: string, contents: Contents.IManager): Promise<string[]> {
  const found = new Set<string>();
  let bytes = 0;
  for (const pattern of patterns) {
    const before = found.size;
    const test = globTest(pattern);
    for (const file of await walk(folder, pattern, test, contents)) {
      if (!found.has(file.path)) {
        found.add(file.path);
        bytes += file.size;
      }
    }
    if (found.size === before) {
      throw new LineError(trans =>
        trans.__('--files %1: there is no such file below %2.', pattern, folder || trans.__('the top folder'))
      );
    }
  }
  if (found.size > MOST_FILES || bytes > MOST_BYTES) {
    const size = Math.ceil(bytes / 2 ** 20);
    throw new LineError(trans =>
      trans.__(
        '--files names %1 files of %2 MiB; from here %3 files of 100 MiB together can be sent. Use jupyter trainjob submit, or the Python client.',
        found.size,
        size,
        MOST_FILES
      )
    );
  }
  return [...found].sort();
}

/** The files that a pattern names, relative to `folder`. Only the folders that its text leads into are looked at. */
async function walk(
  folder: string,
  pattern: string,
  test: (path: string) => boolean,
  contents: Contents.IManager
): Promise<{ path: string; size: number }[]> {
  const { top, deep } = placeOf(pattern);
  const files: { path: string; size: number }[] = [];
  const due = [top];
  let seen = 0;
  for (let place = due.shift(); place !== undefined; place = due.shift()) {
    const listing = await read(`--files ${pattern}`, PathExt.join(folder, place), contents);
    const items = listing.type === 'directory' ? ((listing.content ?? []) as Contents.IModel[]) : [];
    seen += items.length;
    if (seen > MOST_SEEN) {
      throw new LineError(trans =>
        trans.__(
          '--files %1: there are more than %2 files below %3 to look through. Name a folder with fewer: DATA/*.csv. Or use jupyter trainjob submit, or the Python client.',
          pattern,
          MOST_SEEN,
          PathExt.join(folder, top) || trans.__('the top folder')
        )
      );
    }
    for (const item of items) {
      const path = PathExt.join(place, item.name);
      if (item.type === 'directory') {
        if (deep || test(path)) {
          due.push(path);
        }
      } else if (test(path)) {
        files.push({ path, size: item.size ?? 0 });
      }
    }
  }
  return files;
}

async function bytesOf(
  option: string,
  path: string,
  folder: string,
  contents: Contents.IManager
): Promise<Uint8Array<ArrayBuffer>> {
  const options = { type: 'file', format: 'base64', content: true } as const;
  const file = await read(`${option} ${path}`, PathExt.join(folder, path), contents, options);
  return Uint8Array.from(atob(String(file.content).replace(/\s/g, '')), letter => letter.charCodeAt(0));
}

/** What is there; else a {@link LineError} that names the option for which it was looked at. */
async function read(
  what: string,
  path: string,
  contents: Contents.IManager,
  options?: Contents.IFetchOptions
): Promise<Contents.IModel> {
  try {
    return await contents.get(path, options);
  } catch (error) {
    const none = error instanceof ServerConnection.ResponseError && error.response.status === 404;
    throw new LineError(trans =>
      none
        ? trans.__('%1: there is nothing at %2.', what, path || trans.__('the top folder'))
        : trans.__('%1: %2 can’t be read: %3', what, path, problemWords(error, trans))
    );
  }
}
