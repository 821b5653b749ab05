import { describe, expect, it } from 'vitest';

import { UID } from '../testing';
import { isLogBelow, jobRef } from './renderer';

describe('the reference in an output', () => {
  it('is a uid, a namespace and a name', () => {
    expect(jobRef({ uid: UID, namespace: 'ada', name: 'digits' })).toEqual({
      uid: UID,
      namespace: 'ada',
      name: 'digits'
    });
  });

  it('may say that the log is printed below the card', () => {
    expect(isLogBelow({ uid: UID, namespace: 'ada', log: 'below' })).toBe(true);
    expect(isLogBelow({ uid: UID, namespace: 'ada' })).toBe(false);
    expect(isLogBelow({ uid: UID, namespace: 'ada', log: '<b>' })).toBe(false);
    expect(isLogBelow(null)).toBe(false);
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
