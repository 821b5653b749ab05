import { describe, expect, it } from 'vitest';

import { makeJob, trans } from '../testing';
import { bar, bytes, duration, elapsedSeconds, needs, note, span, stateLine, warnings } from './words';

describe('the state of a job in words', () => {
  it('tells the place in the line while it waits', () => {
    const job = makeJob({ position: 3, waitingFor: 'Two jobs of yours run; the queue allows two.' });
    expect(stateLine(job, trans)).toBe('Queued, number 3 in line');
    expect(note(job, trans)).toBe('Two jobs of yours run; the queue allows two.');
  });

  it('tells how far its environment is, and for how long it has been built', () => {
    const condition = {
      type: 'EnvironmentReady',
      status: 'Unknown' as const,
      lastTransitionTime: '2026-11-22T11:02:00Z'
    };
    const building = { ...condition, reason: 'Building', message: 'pip installs requirements.txt sha256:ab12…' };
    const job = makeJob({ reason: 'EnvironmentBuilding', conditions: [building], waitingFor: '… since 11:02 UTC.' });
    const nowMs = Date.parse('2026-11-22T11:02:40Z');
    expect(stateLine(job, trans)).toBe('Building its environment');
    expect(note(job, trans)).toBe(
      'It starts when its environment is there: pip installs requirements.txt sha256:ab12…'
    );
    expect(elapsedSeconds(job, nowMs)).toBe(40);
    job.status.conditions = [{ ...condition, reason: 'Waiting', message: 'it waits until others are built' }];
    expect(stateLine(job, trans)).toBe('Waiting for its environment');
    expect(elapsedSeconds(job, nowMs)).toBeNull();
    job.spec.cancel = {};
    expect(stateLine(job, trans)).toBe('Cancelling');
    expect(note(job, trans)).toBe('… since 11:02 UTC.');
    job.status.conditions = [building];
    expect(elapsedSeconds(job, nowMs)).toBeNull();
    job.status = { phase: 'Failed', reason: 'EnvironmentError', conditions: [building] };
    expect(stateLine(job, trans)).toBe('Failed: its environment could not be built');
    expect(elapsedSeconds(job, nowMs)).toBeNull();
  });

  it('tells why it failed, and leaves the details to the server', () => {
    const job = makeJob({ phase: 'Failed', reason: 'OutOfMemory', message: 'It needed more than its 1Gi of memory.' });
    expect(stateLine(job, trans)).toBe('Failed: out of memory');
    expect(note(job, trans)).toBe('It needed more than its 1Gi of memory.');
  });

  it('shows a reason that it does not know as it is', () => {
    expect(stateLine(makeJob({ phase: 'Failed', reason: 'MoonPhase' }), trans)).toBe('Failed: MoonPhase');
  });

  it('tells what keeps it from the line, first what somebody can do something about', () => {
    const job = makeJob({ reason: 'Retrying' });
    job.spec.schedulingGates = [{ type: 'retry' }];
    expect(stateLine(job, trans)).toBe('Waits to be tried again');
    job.spec.schedulingGates.push({ type: 'approval' });
    expect(stateLine(job, trans)).toBe('Waits for approval');
    job.spec.schedulingGates.push({ type: 'hold' });
    expect(stateLine(job, trans)).toBe('On hold');
    job.status.phase = 'Cancelled';
    expect(stateLine(job, trans)).toBe('Cancelled');
  });

  it('says that a cancel is under way until the job has ended', () => {
    const job = makeJob({ phase: 'Running' });
    job.spec.cancel = {};
    expect(stateLine(job, trans)).toBe('Cancelling');
    job.status.phase = 'Cancelled';
    expect(stateLine(job, trans)).toBe('Cancelled');
  });

  it('passes on what is not as it should be', () => {
    const conditions = [
      { type: 'LogComplete', status: 'False' as const, message: 'The log lacks its middle.' },
      { type: 'AttemptCreated', status: 'True' as const, message: 'The backend has it.' },
      { type: 'Preempted', status: 'False' as const, message: 'It has room again.' }
    ];
    expect(warnings(makeJob({ conditions }))).toEqual(['The log lacks its middle.']);
    const preempted = { type: 'Preempted', status: 'True' as const, message: 'Its room is taken back.' };
    expect(warnings(makeJob({ conditions: [preempted] }))).toEqual(['Its room is taken back.']);
  });
});

describe('the progress bar', () => {
  it('counts cells where there is more than one', () => {
    const job = makeJob({ phase: 'Running', progress: { cellsDone: 1, cells: 4 } });
    expect(bar(job, trans)).toEqual({ fraction: 0.25, text: '1 of 4 cells' });
  });

  it('is without end for a single cell that tells nothing', () => {
    const job = makeJob({ phase: 'Running', progress: { cellsDone: 0, cells: 1 } });
    expect(bar(job, trans)).toEqual({ fraction: null, text: '' });
  });

  it('prefers what the code says', () => {
    const progress = { cellsDone: 0, cells: 1, fraction: 0.5, message: 'epoch 5' };
    expect(bar(makeJob({ phase: 'Running', progress }), trans)).toEqual({ fraction: 0.5, text: 'epoch 5' });
  });

  it('is there only while the job runs', () => {
    expect(bar(makeJob({ phase: 'Succeeded', progress: { cellsDone: 4, cells: 4 } }), trans)).toBeNull();
  });
});

describe('times and sizes', () => {
  const start = '2026-05-01T10:00:00.000000Z';

  it('runs with the server’s clock and stands still at the end', () => {
    const job = makeJob({ phase: 'Running', attempts: [{ number: 1, start }] });
    expect(elapsedSeconds(job, Date.parse('2026-05-01T10:00:07Z'))).toBe(7);
    job.status.attempts = [{ number: 1, start, end: '2026-05-01T10:00:03.000000Z' }];
    expect(elapsedSeconds(job, Date.parse('2026-05-01T10:00:07Z'))).toBe(3);
  });

  it('is nothing before the code starts, and never negative', () => {
    expect(elapsedSeconds(makeJob(), 0)).toBeNull();
    expect(elapsedSeconds(makeJob({ attempts: [{ number: 1, start }] }), 0)).toBe(0);
  });

  it('reads well', () => {
    expect([9.7, 185, 7800].map(seconds => duration(seconds, trans))).toEqual(['9 s', '3 min 5 s', '2 h 10 min']);
    expect([45, 300, 3600, 5400, 3661].map(seconds => span(seconds, trans))).toEqual([
      '45 s',
      '5 min',
      '1 h',
      '1 h 30 min',
      '1 h 1 min 1 s'
    ]);
    expect([812, 1500, 3 * 2 ** 30].map(bytes)).toEqual(['812 B', '1.5 KiB', '3.0 GiB']);
  });

  it('tells what was asked for, and at the end what was used', () => {
    const job = makeJob();
    expect(needs(job, trans)).toBe('1 CPU · 1Gi memory · at most 5 min · queue default');
    job.status = {
      phase: 'Succeeded',
      attempts: [{ number: 1, usage: { cpuSeconds: 3.14, peakMemoryBytes: 150 * 2 ** 20 } }]
    };
    expect(needs(job, trans)).toContain('used 3.1 CPU seconds and 150.0 MiB');
  });
});
