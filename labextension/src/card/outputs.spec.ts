import { describe, expect, it } from 'vitest';

import { TrainJobClient } from '../api/client';
import { makeJob, trans } from '../testing';
import { outputsList } from './outputs';

const ref = makeJob().metadata;
const client = { resultUrl: (_: unknown, name: string) => `results/${name}` } as unknown as TrainJobClient;

function shown(results: { name: string; format?: string; error?: string }[], own = 'ada'): HTMLElement {
  const list = outputsList(ref, { notebook: true, results, files: [], filesTotal: 0 }, client, trans, own);
  const around = document.createElement('div');
  around.append(list);
  return around;
}

describe('the results of a job', () => {
  it('are saved under a name that tells their format', () => {
    const list = shown([
      { name: 'model', format: 'pickle' },
      { name: 'trees', format: 'frame' },
      { name: 'total', format: 'json' },
      { name: 'old' }
    ]);
    expect([...list.querySelectorAll('a')].map(link => link.download)).toEqual([
      'model.pkl',
      'trees.csv',
      'total.json',
      'old.pkl'
    ]);
  });

  it('say what to type for them', () => {
    expect(shown([{ name: 'model' }]).querySelector('code')?.textContent).toBe('%trainjob results digits-x7k2p model');
    for (const looking of ['tess', '']) {
      const others = shown([{ name: 'model' }], looking);
      expect(others.querySelector('code')?.textContent).toBe('%trainjob results digits-x7k2p model -n ada');
    }
  });

  it('say why one is missing', () => {
    expect(shown([{ name: 'lock', error: "it can't be pickled" }]).textContent).toContain("it can't be pickled");
  });
});
