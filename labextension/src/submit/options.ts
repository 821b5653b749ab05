/** The line `%%trainjob --name digits --cpu 2`, read as the Python magic reads it (`verbs/options.py`); tests/cases/options.json holds both to it: pure. */
import { LineError } from './problem';

/** What was typed, by option: text for one value, a list where it may be given again, true for a switch. */
export interface ILineOptions {
  [option: string]: string | string[] | true | undefined;
}

/** Of an option, whether it may be given again, and whether it takes a value. */
export type Kind = 'one' | 'many' | 'switch';

export const KINDS: Record<string, Kind> = {
  in: 'many',
  name: 'one',
  profile: 'one',
  queue: 'one',
  namespace: 'one',
  cpu: 'one',
  memory: 'one',
  gpu: 'one',
  shm: 'one',
  disk: 'one',
  'time-limit': 'one',
  priority: 'one',
  network: 'one',
  param: 'many',
  out: 'many',
  files: 'many',
  input: 'many',
  uri: 'many',
  keep: 'many',
  requirements: 'one',
  env: 'many',
  label: 'many',
  'depends-on': 'many',
  retries: 'one',
  'retry-errors': 'switch',
  preemptible: 'switch',
  sweep: 'many',
  repeat: 'one',
  'max-parallel': 'one',
  kernel: 'one',
  image: 'one',
  volume: 'many',
  hold: 'switch',
  notify: 'switch',
  block: 'switch',
  'dry-run': 'switch'
};

const SHORT: Record<string, string> = { n: 'namespace' };

export interface IMagicCell {
  /** What stands behind `%%trainjob`. */
  line: string;
  code: string;
  /** The line of the cell at which the code begins, from 1. */
  firstLine: number;
}

const MAGIC = /^%%trainjob(?=\s|$)(.*)$/;

/** The parts of a cell that begins with `%%trainjob`; null for any other. Empty lines may stand above. */
export function magicCell(source: string): IMagicCell | null {
  const lines = source.split('\n');
  const first = lines.findIndex(line => line.trim());
  const match = first < 0 ? null : MAGIC.exec(lines[first].trimEnd());
  return match && { line: match[1].trim(), code: lines.slice(first + 1).join('\n'), firstLine: first + 2 };
}

/** The options of a line. What follows a `#` word is a comment. */
export function parseLine(line: string): ILineOptions {
  const words = splitWords(line);
  const found: ILineOptions = {};
  for (let index = 0; index < words.length; index++) {
    const word = words[index];
    const match = /^(?:--([a-z-]+)|-([a-z]))(?:=(.*))?$/s.exec(word);
    const option = match && (match[1] ?? SHORT[match[2]]);
    const kind = option ? KINDS[option] : undefined;
    if (!match || !option || !kind) {
      const all = Object.keys(KINDS).map(one => `--${one}`);
      throw new LineError(trans =>
        trans.__('%1 is no option of %2. There are: %3.', word, '%%trainjob', all.join(', '))
      );
    }
    if (kind === 'switch') {
      if (match[3] !== undefined) {
        throw new LineError(trans => trans.__('--%1 takes no value.', option));
      }
      found[option] = true;
      continue;
    }
    const value = match[3] ?? words[++index];
    if (value === undefined) {
      throw new LineError(trans => trans.__('--%1 lacks its value.', option));
    }
    if (kind === 'one') {
      found[option] = value;
    } else {
      found[option] = [...((found[option] as string[] | undefined) ?? []), value];
    }
  }
  return found;
}

/** Words as a shell has them: quotes keep blanks, a backslash keeps the next character. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word = '';
  let begun = false;
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const letter = line[at];
    if (quote) {
      if (letter === quote) {
        quote = '';
      } else if (letter === '\\' && quote === '"' && '"\\'.includes(line[at + 1] ?? ' ')) {
        word += line[++at];
      } else {
        word += letter;
      }
    } else if (letter === '"' || letter === "'") {
      quote = letter;
      begun = true;
    } else if (letter === '\\' && at + 1 < line.length) {
      word += line[++at];
      begun = true;
    } else if (/\s/.test(letter)) {
      if (begun) {
        words.push(word);
      }
      word = '';
      begun = false;
    } else {
      word += letter;
      begun = true;
    }
  }
  if (quote) {
    const open = quote;
    throw new LineError(trans => trans.__('A quotation mark %1 is opened and not closed: %2', open, line));
  }
  return begun ? [...words, word] : words;
}

/** `["a,b", "c"]` → `["a", "b", "c"]`, each once. */
export function splitNames(texts: string[]): string[] {
  const names = texts.flatMap(text => text.split(',')).map(name => name.trim());
  return [...new Set(names.filter(Boolean))];
}

/** `"k=v"` → `["k", "v"]`. */
export function pair(text: string, option: string): [string, string] {
  const at = text.indexOf('=');
  const key = text.slice(0, Math.max(0, at)).trim();
  if (!key) {
    throw new LineError(trans => trans.__("--%1 %2: there is no '='. Write --%1 name=value.", option, text));
  }
  return [key, text.slice(at + 1)];
}

const DURATION = /^(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?$/;

/** A duration in whole seconds: `5m`, `1h30m`, `2d`, `90`. */
export function seconds(text: string): number {
  const match = DURATION.exec(text.trim().toLowerCase().replace(/ /g, ''));
  if (!match || !match.slice(1).some(Boolean)) {
    throw new LineError(trans =>
      trans.__("'%1' is no duration. Write for example 90 (seconds), 5m, 1h30m or 2d.", text)
    );
  }
  const [days, hours, minutes, rest] = match.slice(1).map(part => Number(part ?? 0));
  return Math.round(days * 86400 + hours * 3600 + minutes * 60 + rest);
}

/** A whole number, or a sentence. */
export function whole(text: string): number {
  if (!/^[+-]?\d+$/.test(text.trim())) {
    throw new LineError(trans => trans.__("'%1' is no whole number.", text));
  }
  return Number(text);
}
