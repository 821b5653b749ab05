import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { sentAs } from '../api/exact';
import { draftOf, inputOf, readableName, uriOf, volumeOf } from './draft';
import { globTest } from './glob';
import { KINDS, parseLine, seconds } from './options';
import { LineError } from './problem';
import { parameterValue } from './values';

/** The table by which Python reads what is typed, too: tests/verbs/test_cases.py. */
const cases = JSON.parse(readFileSync('../tests/cases/options.json', 'utf8')) as Record<string, unknown[]>;
const specOf = (line: string) => {
  const { source, ...spec } = draftOf({ type: 'cell' }, parseLine(line), 'cell').spec;
  expect(source).toEqual({ type: 'cell' });
  return spec;
};
/** Without the blanks between tokens; what is in quotes keeps them. */
const tight = (json: string) => json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1');

describe('what is typed is read as Python reads it:', () => {
  it('the same options', () => expect(KINDS).toEqual(cases.options));

  it.each(cases.values as [string, string][])('the parameter %j', (text, sent) =>
    expect(sentAs(parameterValue(text))).toBe(tight(sent))
  );

  it.each(cases.notCarried as string[])('the parameter %j, which no float holds', text =>
    expect(() => parameterValue(text)).toThrow(/can’t be carried/)
  );

  it.each(cases.durations as [string, number | null][])('the duration %j', (text, expected) => {
    if (expected === null) {
      expect(() => seconds(text)).toThrow(LineError);
    } else {
      expect(seconds(text)).toBe(expected);
    }
  });

  it.each(cases.names as [string, string][])('the name of %j', (text, name) => expect(readableName(text)).toBe(name));

  it.each([
    ...(cases.volumes as unknown[][]).map(one => [volumeOf, ...one]),
    ...(cases.inputs as unknown[][]).map(one => [inputOf, ...one]),
    ...(cases.uris as unknown[][]).map(one => [uriOf, ...one])
  ] as [(text: string) => object, string, object | null][])('%o of %j', (read, text, expected) => {
    if (expected === null) {
      expect(() => read(text)).toThrow(LineError);
    } else {
      expect(read(text)).toEqual(expected);
    }
  });

  it.each(cases.globs as [string, string[]][])('the pattern %j', (pattern, expected) =>
    expect((cases.tree as string[]).filter(globTest(pattern)).sort()).toEqual(expected)
  );

  it.each(cases.lines as [string, object][])('the line %j', (line, spec) => expect(specOf(line)).toEqual(spec));

  it.each(cases.wrong as string[])('what is wrong with the line %j', line =>
    expect(() => specOf(line)).toThrow(LineError)
  );
});
