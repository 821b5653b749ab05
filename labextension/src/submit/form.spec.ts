import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { JobStore } from '../store/jobs';
import { makeJob, trans } from '../testing';
import { SubmitForm } from './form';

let form: SubmitForm;
let looked: string[][];
let drafts: { draft: { spec: { inputs?: object[] } }; dry: boolean }[];
let refuse: Error | null;

beforeEach(async () => {
  vi.useFakeTimers();
  [looked, drafts, refuse] = [[], [], null];
  const client = {
    me: () => Promise.resolve({ username: 'ada', namespaces: [], limits: { queues: [] }, use: [], permissions: [] }),
    schema: () => Promise.resolve({ properties: { spec: { properties: { priority: { type: 'integer' } } } } }),
    profiles: () => Promise.resolve([]),
    queues: () => Promise.resolve([]),
    kernels: () => Promise.resolve([]),
    inspect: () => Promise.resolve({ parameters: [{ name: 'rate', type: '', expression: '0.1' }] }),
    submit: (_: string, draft: never, dry: boolean) => {
      drafts.push({ draft, dry });
      return refuse && !dry ? Promise.reject(refuse) : Promise.resolve(makeJob());
    }
  };
  const store = { client, accept: () => undefined } as unknown as JobStore;
  const files = ({ files: patterns }: { files?: unknown }) => {
    looked.push(patterns as string[]);
    return Promise.resolve([{ type: 'upload', path: String(patterns) }]);
  };
  form = new SubmitForm({ store, trans, source: {}, name: 'nb', files: files, sent: () => undefined });
  await vi.advanceTimersByTimeAsync(10);
});
afterEach(() => {
  form.dispose();
  vi.useRealTimers();
});

async function type(path: string, text: string, then: 'input' | 'change' = 'input'): Promise<void> {
  const input = form.node.querySelector<HTMLInputElement>(`[id="jp-TrainJobSubmit-${path}"]`)!;
  input.value = text;
  input.dispatchEvent(new Event(then, { bubbles: true }));
  await vi.advanceTimersByTimeAsync(1000);
}

const last = () => drafts[drafts.length - 1];

describe('the form', () => {
  it('looks for no files while their pattern is being typed', async () => {
    for (const text of ['*', '*.', '*.c', '*.csv']) {
      await type('spec.inputs', text);
    }
    expect(looked).toEqual([]);
    expect(last().dry).toBe(true);
    await type('spec.inputs', '*.csv', 'change');
    expect(looked).toEqual([['*.csv']]);
    expect(last().draft.spec.inputs).toHaveLength(1);
  });

  it('tries with those that were found, and looks again when it is sent', async () => {
    await type('spec.inputs', '*.csv', 'change');
    await type('spec.parameters.rate', '0.5');
    await type('spec.parameters.rate', '0.5', 'change');
    expect(looked).toHaveLength(1);
    expect(last().draft.spec.inputs).toHaveLength(1);
    form.node.dispatchEvent(new Event('submit'));
    await vi.advanceTimersByTimeAsync(10);
    expect(looked).toHaveLength(2);
    expect([last().dry, last().draft.spec.inputs]).toEqual([undefined, [{ type: 'upload', path: '*.csv' }]]);
  });

  it('can be sent again after a failure that nobody foresaw', async () => {
    refuse = new TypeError('odd');
    const thrown = new Promise(resolve => process.once('unhandledRejection', resolve));
    form.node.dispatchEvent(new Event('submit'));
    await vi.advanceTimersByTimeAsync(10);
    expect(form.node.querySelector<HTMLButtonElement>('[type=submit]')!.disabled).toBe(false);
    vi.useRealTimers();
    expect(await thrown).toBe(refuse); // it is none of ours, and stays to be seen
  });
});
