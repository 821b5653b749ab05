import { Contents, ServerConnection } from '@jupyterlab/services';
import { describe, expect, it } from 'vitest';

import { TrainJobClient } from '../api/client';
import { collect } from './collect';
import { LineError } from './problem';

/** Jupyter's files, by path, and what was asked of it and uploaded. */
function files(tree: Record<string, string>) {
  const seen = { listed: [] as string[], uploads: 0 };
  const get = (path: string, options?: Contents.IFetchOptions): Promise<Partial<Contents.IModel>> => {
    if (options?.type === 'file' && path in tree) {
      return Promise.resolve({ type: 'file', content: btoa(tree[path]) });
    }
    seen.listed.push(path);
    const below = path ? `${path}/` : '';
    const names = Object.keys(tree).filter(one => one.startsWith(below));
    if (!names.length) {
      const status = path.startsWith('locked') ? 403 : 404;
      return Promise.reject(new ServerConnection.ResponseError(new Response('', { status }), 'not for you'));
    }
    const parts = names.map(one => one.slice(below.length).split('/'));
    const types = new Map(parts.map(([name, ...rest]) => [name, rest.length ? 'directory' : 'file']));
    const content = [...types].map(([name, type]) => ({ name, type, size: 1 }));
    return Promise.resolve({ type: 'directory', content });
  };
  const client = {
    upload: () => {
      seen.uploads += 1;
      return Promise.resolve();
    }
  };
  const paths = async (patterns: string[], folder = '') => {
    const found = await collect({ files: patterns }, folder, { get } as never, client as unknown as TrainJobClient);
    return (found.inputs as { path: string }[]).map(({ path }) => path);
  };
  const requirements = (file: string) =>
    collect({ requirements: file }, '', { get } as never, client as unknown as TrainJobClient);
  return { seen, paths, requirements };
}

describe('the files that go along', () => {
  it('are those that the patterns name, below the folder', async () => {
    const { paths, seen } = files({ 'w/a.csv': '1', 'w/b.txt': '2', 'w/data/c.csv': '3', 'other/d.csv': '4' });
    expect(await paths(['*.csv', 'data'], 'w')).toEqual(['a.csv', 'data/c.csv']);
    expect(seen.listed).not.toContain('other');
    expect(seen.uploads).toBe(2);
  });

  it('are never a part of them: where there is too much to look through, that is said', async () => {
    const many = Array.from({ length: 5100 }, (_, number) => [`node_modules/p${number}/x.js`, '']);
    const { paths, seen } = files(Object.fromEntries([...many, ['z/a.csv', '']]) as Record<string, string>);
    await expect(paths(['**/*.csv'])).rejects.toThrow(
      /^--files \*\*\/\*\.csv: there are more than 5000 files below the top folder to look through/
    );
    expect(seen.uploads).toBe(0);
  });

  it.each([
    ['nodir/*.csv', /^--files nodir\/\*\.csv: there is nothing at nodir\.$/],
    ['none*.csv', /^--files none\*\.csv: there is no such file below the top folder\.$/],
    ['locked/*.csv', /^--files locked\/\*\.csv: locked can’t be read: not for you$/]
  ])('that are not there are told: %s', async (pattern, words) => {
    const told = await files({ 'a.csv': '' })
      .paths([pattern])
      .catch((error: unknown) => error);
    expect(told).toBeInstanceOf(LineError);
    expect((told as LineError).message).toMatch(words);
  });

  it('a list of requirements that is not there, too', async () => {
    await expect(files({ a: '' }).requirements('missing.txt')).rejects.toThrow(
      '--requirements missing.txt: there is nothing at missing.txt.'
    );
  });
});
