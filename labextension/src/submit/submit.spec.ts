import { createHash } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { IMe, IProfile } from '../api/types';
import { makeJob, trans } from '../testing';
import { draftOf, readableName } from './draft';
import { fieldsAt, limitWords } from './fields';
import { magicCell, parseLine, splitWords } from './options';
import { pointsOf, splitValues } from './points';
import { digestOf, sha256 } from './sha256';
import { cardOutput, dryWords, languageOf, sweepWords } from './submit';

describe('the first line', () => {
  it('is taken from a cell of any language, with the line where the code begins', () => {
    expect(magicCell('%%trainjob --cpu 2\nval x = 1')).toEqual({ line: '--cpu 2', code: 'val x = 1', firstLine: 2 });
    expect(magicCell('\n%%trainjob\nx <- 1\ny')).toEqual({ line: '', code: 'x <- 1\ny', firstLine: 3 });
  });

  it('is no other magic and no text', () => {
    expect(magicCell('%%trainjobs\n1')).toBeNull();
    expect(magicCell('%%time\n%%trainjob\n1')).toBeNull();
    expect(magicCell('print("%%trainjob")')).toBeNull();
    expect(magicCell('')).toBeNull();
  });

  it('is split as a shell does', () => {
    expect(splitWords(`--name a  --param 'x=1 2' --label "k=\\"v\\"" a\\ b ''`)).toEqual([
      '--name',
      'a',
      '--param',
      'x=1 2',
      '--label',
      'k="v"',
      'a b',
      ''
    ]);
    expect(() => splitWords(`--name 'a`)).toThrow(/opened and not closed/);
  });

  it('has the options of the magic', () => {
    expect(parseLine('--name digits --out a,b --out c --notify --time-limit=5m -n course')).toEqual({
      name: 'digits',
      out: ['a,b', 'c'],
      notify: true,
      'time-limit': '5m',
      namespace: 'course'
    });
  });

  it.each([
    ['--nmae x', /--nmae is no option of %%trainjob. There are: --in, --name/],
    ['digits', /digits is no option/],
    ['--cpu', /--cpu lacks its value/],
    ['--notify=1', /--notify takes no value/]
  ])('says what is wrong with %s', (line, words) => {
    expect(() => parseLine(line)).toThrow(words);
  });
});

describe('a draft', () => {
  const spec = (line: string) => draftOf({ type: 'cell', code: '1' }, parseLine(line), 'cell').spec;

  it('leaves out what is not given', () => {
    expect(draftOf({ type: 'cell', code: '1' }, {}, 'cell')).toEqual({
      apiVersion: 'jupyter-trainjob/v1',
      kind: 'TrainJob',
      metadata: { generateName: 'cell' },
      spec: { source: { type: 'cell', code: '1' } }
    });
  });

  it('has all that the line says', () => {
    const line =
      '--cpu 2 --memory 1Gi --gpu 1 --time-limit 5m --param lr=0.1 --env A=b=c --out m,n --depends-on a,b:failed ' +
      '--retries 2 --volume data:/mnt/x:rw --hold --uri https://h/f.csv --input clean:tables/=in --kernel ir';
    expect(spec(line)).toEqual({
      source: { type: 'cell', code: '1' },
      resources: { cpu: '2', memory: '1Gi', gpu: 1 },
      timeLimitSeconds: 300,
      parameters: { lr: 0.1 },
      environment: { kernel: 'ir', env: [{ name: 'A', value: 'b=c' }] },
      outputs: { names: ['m', 'n'] },
      schedulingGates: [
        { type: 'hold' },
        { type: 'dependency', job: 'a', condition: 'succeeded' },
        { type: 'dependency', job: 'b', condition: 'failed' }
      ],
      retries: { limit: 2 },
      volumes: [{ name: 'data', readOnly: false, mountPath: '/mnt/x' }],
      inputs: [
        { type: 'output', job: 'clean', file: 'tables', path: 'in' },
        { type: 'uri', uri: 'https://h/f.csv', path: 'f.csv' }
      ]
    });
  });

  it.each([
    ['--in x', /--in sends variables of a Python kernel/],
    ['--gpu two', /'two' is no whole number/],
    ['--label x', /there is no '='/],
    ['--depends-on a:begun', /'begun' is no end of a job/],
    ['--volume /x', /this can't be read/],
    ['--input x', /names no file of a job/],
    ['--uri x', /this is no address/]
  ])('says what is wrong with %s', (line, words) => {
    expect(() => spec(line)).toThrow(words);
  });

  it('is named after the file', () => {
    expect(readableName('a/My Notebook (2).ipynb')).toBe('my-notebook-2');
    expect(readableName('…')).toBe('job');
  });
});

describe('digests', () => {
  it.each([0, 1, 55, 56, 63, 64, 65, 1000])('of %d bytes are what others count', async length => {
    const data = Uint8Array.from({ length }, (_, at) => (at * 31) % 256);
    const expected = createHash('sha256').update(data).digest('hex');
    expect(Buffer.from(sha256(data)).toString('hex')).toBe(expected);
    expect(await digestOf(data)).toBe(`sha256:${expected}`);
  });
});

describe('the form', () => {
  const schema = {
    $defs: {
      Resources: {
        properties: {
          cpu: { anyOf: [{ type: 'string' }, { type: 'null' }] },
          gpu: { anyOf: [{ type: 'integer', minimum: 0, maximum: 8 }, { type: 'null' }], description: 'Cards.' },
          odd: { type: 'array' }
        }
      }
    },
    properties: { spec: { properties: { resources: { $ref: '#/$defs/Resources' }, notify: { type: 'boolean' } } } }
  };

  it('has a field for each simple part of the schema', () => {
    expect(
      fieldsAt(schema, 'spec.resources').map(({ path, kind, maximum, help }) => [path, kind, maximum, help])
    ).toEqual([
      ['spec.resources.cpu', 'text', undefined, ''],
      ['spec.resources.gpu', 'number', 8, 'Cards.']
    ]);
    expect(fieldsAt(schema, 'spec').map(field => field.kind)).toEqual(['switch']);
    expect(fieldsAt(schema, 'spec.nothing')).toEqual([]);
  });

  it('says beside a field which limits apply', () => {
    const profile = {
      metadata: { name: 'default' },
      spec: { defaults: { cpu: '1' }, maximum: { cpu: '4' } }
    } as IProfile;
    const me = {
      limits: { queues: [{ queue: 'gpu', perUser: { cpu: '8' } }] },
      use: [{ queue: 'gpu', cpu: '2' }]
    } as unknown as IMe;
    expect(limitWords('cpu', profile, me, 'gpu', trans)).toBe(
      'left empty: 1 · at most 4 · yours in this queue: 2 of 8 in use'
    );
    expect(limitWords('memory', undefined, null, 'gpu', trans)).toBe('');
  });
});

describe('what is told', () => {
  it('of a dry run: whether and when it would run', () => {
    expect(dryWords(makeJob({ position: 1 }), trans)).toBe('It would start at once.');
    expect(dryWords(makeJob({ position: 3, waitingFor: 'Jobs ahead of it wait.' }), trans)).toBe(
      'It would be number 3 in line. Jobs ahead of it wait.'
    );
  });

  it('in a notebook: which job, and nothing of it', () => {
    const output = cardOutput({ uid: 'u', namespace: 'ada', name: 'digits' }, 'ada');
    expect(output.data['application/vnd.trainjob+json']).toEqual({ uid: 'u', namespace: 'ada', name: 'digits' });
  });

  it('of the language, as notebooks name it', () => {
    expect([
      languageOf('R', 'ir'),
      languageOf('', 'ir'),
      languageOf('', 'apache_toree_scala'),
      languageOf('python', '')
    ]).toEqual(['r', 'r', 'scala', 'python']);
  });
});

describe('a sweep', () => {
  const points = (line: string) => pointsOf(parseLine(line))?.map(point => point.parameters);

  it('is every combination of the values, in the order of the line', () => {
    expect(points('--sweep lr=0.1,0.01 --sweep depth=2,None')).toEqual([
      { lr: 0.1, depth: 2 },
      { lr: 0.1, depth: null },
      { lr: 0.01, depth: 2 },
      { lr: 0.01, depth: null }
    ]);
    expect(points('--repeat 2 --sweep lr=1')).toEqual([{ lr: 1 }, { lr: 1 }]);
    expect(points('--repeat 3')).toEqual([{}, {}, {}]);
    expect(points('--cpu 2')).toBeUndefined();
  });

  it('has values with commas in brackets and quotes', () => {
    expect(splitValues(`[1, 2], [3], "a,b",{"k": [1,2]}`)).toEqual(['[1, 2]', '[3]', '"a,b"', '{"k": [1,2]}']);
  });

  it.each([
    ['--max-parallel 2', /is for --sweep and --repeat/],
    ['--repeat 0', /there is nothing to do/],
    ['--sweep lr', /there is no '='/]
  ])('says what is wrong with %s', (line, words) => {
    expect(() => points(line)).toThrow(words);
  });

  it('is told with what shows its jobs', () => {
    const items = [1, 2].map(number => ({ name: `lr-${number}`, uid: String(number) }));
    expect(sweepWords({ sweep: 'lr-x7k2p', items }, trans)).toBe(
      'lr-x7k2p: 2 jobs\nIn the panel of jobs, the label jupyter-trainjob/sweep=lr-x7k2p shows them.'
    );
  });
});

describe('what may be tried again', () => {
  it('is as the magic has it', () => {
    const spec = (line: string) => draftOf({ type: 'cell' }, parseLine(line), 'cell').spec;
    expect(spec('--retries 2 --retry-errors --preemptible')).toMatchObject({
      retries: { limit: 2, onCodeError: true },
      preemptible: true
    });
    expect(spec('--retries 2').retries).toEqual({ limit: 2 });
    expect(spec('--network loopback').network).toEqual({ mode: 'loopback' });
  });
});
