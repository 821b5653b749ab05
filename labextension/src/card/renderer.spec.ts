import { describe, expect, it } from 'vitest';

import { UID } from '../testing';
import { jobRef } from './renderer';

describe('the reference in an output', () => {
  it('is a uid, a namespace and a name', () => {
    expect(jobRef({ uid: UID, namespace: 'ada', name: 'digits' })).toEqual({
      uid: UID,
      namespace: 'ada',
      name: 'digits'
    });
  });

  it('does without a name', () => {
    expect(jobRef({ uid: UID, namespace: 'ada' })?.name).toBe(UID);
  });

  it.each([
    [null],
    ['text'],
    [{}],
    [{ uid: '../../me', namespace: 'ada' }],
    [{ uid: UID }],
    [{ uid: 7, namespace: 1 }]
  ])('is not %j', data => {
    expect(jobRef(data)).toBeNull();
  });
});
