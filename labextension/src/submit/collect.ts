import { PathExt } from '@jupyterlab/coreutils';
import { Contents } from '@jupyterlab/services';

import { TrainJobClient } from '../api/client';
import { ICollected } from './draft';
import { ILineOptions, LineError, splitNames } from './options';
import { digestOf } from './sha256';

/** A browser is no copy program: more is sent by the Python client. */
const MOST_FILES = 500;
const MOST_BYTES = 100 * 1024 * 1024;

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
      const digest = await send(await bytesOf(PathExt.join(folder, path), contents), client);
      found.inputs.push({ type: 'upload', digest, path });
    }
  }
  const list = options.requirements as string | undefined;
  if (list) {
    const format = FORMATS.find(([suffix]) => suffix.test(list))?.[1];
    if (!format) {
      throw new LineError(`--requirements ${list}: it must end in .txt, .lock (renv) or .ivy.`);
    }
    const digest = await send(await bytesOf(PathExt.join(folder, list), contents), client);
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
    for (const file of await walk(folder, pattern, contents)) {
      if (test(file.path) && !found.has(file.path)) {
        found.add(file.path);
        bytes += file.size;
      }
    }
    if (found.size === before) {
      throw new LineError(`--files ${pattern}: there is no such file below ${folder || 'the top folder'}.`);
    }
  }
  if (found.size > MOST_FILES || bytes > MOST_BYTES) {
    const size = Math.ceil(bytes / 2 ** 20);
    throw new LineError(
      `--files names ${found.size} files of ${size} MiB; from here ${MOST_FILES} files of 100 MiB together can be sent. ` +
        'Use jupyter trainjob submit, or the Python client.'
    );
  }
  return [...found].sort();
}

/** The files that a pattern may mean, relative to `folder`. Only the folders that its text leads into are looked at. */
async function walk(
  folder: string,
  pattern: string,
  contents: Contents.IManager
): Promise<{ path: string; size: number }[]> {
  const fixed = pattern.split('/').slice(0, -1);
  const wild = fixed.findIndex(part => /[*?[]/.test(part));
  const top = fixed.slice(0, wild < 0 ? undefined : wild).join('/');
  const deep = wild >= 0 || pattern.includes('**');
  const files: { path: string; size: number }[] = [];
  const due = [top];
  for (let place = due.shift(); place !== undefined && files.length <= 10 * MOST_FILES; place = due.shift()) {
    const listing = await contents.get(PathExt.join(folder, place));
    for (const item of (listing.content ?? []) as Contents.IModel[]) {
      const path = PathExt.join(place, item.name);
      if (item.type === 'directory') {
        if (deep) {
          due.push(path);
        }
      } else {
        files.push({ path, size: item.size ?? 0 });
      }
    }
  }
  return files;
}

/** `*` and `?` stay within a folder, `**` goes through all. */
export function globTest(pattern: string): (path: string) => boolean {
  const text = pattern.replace(/\*\*\/|\*\*|\*|\?|[.+^${}()|[\]\\]/g, part => {
    const words: Record<string, string> = { '**/': '(?:.*/)?', '**': '.*', '*': '[^/]*', '?': '[^/]' };
    return words[part] ?? `\\${part}`;
  });
  const expression = new RegExp(`^${text}$`);
  return path => expression.test(path);
}

async function bytesOf(path: string, contents: Contents.IManager): Promise<Uint8Array<ArrayBuffer>> {
  const file = await contents.get(path, { type: 'file', format: 'base64', content: true });
  return Uint8Array.from(atob(String(file.content).replace(/\s/g, '')), letter => letter.charCodeAt(0));
}
