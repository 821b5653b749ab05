import { describe, expect, it } from 'vitest';

import { ApiError, TrainJobClient } from '../api/client';
import { refOf } from '../api/types';
import { makeJob, trans } from '../testing';
import { NotebookOpener } from './notebook';

function openerWhere(error: ApiError): NotebookOpener {
  const client = { notebook: () => Promise.reject(error) } as unknown as TrainJobClient;
  return new NotebookOpener(client, null as never, null as never, trans);
}

describe('opening the executed notebook', () => {
  it('says in plain words that there is none', async () => {
    const opener = openerWhere(new ApiError(404, 'no such thing', 'Its outputs are listed under /outputs.'));
    await expect(opener.open(refOf(makeJob()), '')).rejects.toThrow(
      /^digits-x7k2p has no executed notebook: it is saved after each cell\.$/
    );
  });

  it('passes on what else is wrong', async () => {
    const error = new ApiError(503, 'The store is away.');
    await expect(openerWhere(error).open(refOf(makeJob()), '')).rejects.toBe(error);
  });
});
