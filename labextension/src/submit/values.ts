/** What is typed for a parameter, read as the Python client reads it (`client/spec.py`); tests/cases/options.json holds both to it: pure. */
import { exact } from '../api/exact';
import { LineError } from './problem';

/** What a parameter's text means: JSON, also with NaN and Infinity, a date, a Python literal, else the text. */
export function parameterValue(text: string): unknown {
  const found = parsed(text, JSON_TOKEN, fromJson);
  if (found !== undefined) {
    return found;
  }
  if (/^\d{4}-\d{2}-\d{2}$/.test(text) && isDate(text)) {
    return { $type: 'date', value: text };
  }
  const literal = parsed(text, PYTHON_TOKEN, fromPython);
  return literal === undefined ? text : literal;
}

const STRING = String.raw`"(?:[^"\\]|\\.)*"`;
const JSON_TOKEN = new RegExp(
  String.raw`${STRING}|-?Infinity\b|\bNaN\b|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?`,
  'g'
);
const PYTHON_TOKEN = new RegExp(
  String.raw`${STRING}|'[^'\\]*'|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|\b[A-Za-z_]\w*|,(?=\s*[\]}])`,
  'g'
);
const CONSTANTS: Record<string, string> = { True: 'true', False: 'false', None: 'null' };

/** JSON that stands for a token, or the digits of a number. */
type Token = { number: string } | string;

/** The JSON value of a text whose tokens are made JSON's one by one; undefined where it is none. */
function parsed(text: string, tokens: RegExp, read: (token: string) => Token): unknown {
  const numbers: string[] = [];
  const json = text.replace(tokens, token => {
    const found = read(token);
    return typeof found === 'string' ? found : `{"#":${numbers.push(found.number) - 1}}`;
  });
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  return restored(value, numbers);
}

function fromJson(token: string): Token {
  return token.startsWith('"') ? JSON_STRING + token.slice(1) : { number: token };
}

function fromPython(token: string): Token {
  if (token.startsWith('"')) {
    return JSON_STRING + token.slice(1);
  }
  if (token.startsWith("'")) {
    return JSON_STRING + JSON.stringify(token.slice(1, -1)).slice(1);
  }
  if (token === ',') {
    return ''; // behind the last item
  }
  if (/[A-Za-z_]/.test(token[0])) {
    return CONSTANTS[token] ?? '?';
  }
  // as JSON writes it: +1, .5 and 1. are numbers, too
  const number = token
    .replace('+', token.startsWith('+') ? '' : '+')
    .replace(/^(-?)\./, '$10.')
    .replace(/\.(?!\d)/, '.0');
  return /^-?0\d/.test(number) ? '?' : { number };
}

/** Each text that was typed begins with this while numbers are objects, keys of objects too. */
const JSON_STRING = '"=';

function restored(value: unknown, numbers: string[]): unknown {
  if (typeof value === 'string') {
    return value.slice(1);
  }
  if (Array.isArray(value)) {
    return value.map(item => restored(item, numbers));
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  if ('#' in value) {
    return numberOf(numbers[value['#'] as number]);
  }
  const found = Object.fromEntries(Object.entries(value).map(([key, item]) => [key.slice(1), restored(item, numbers)]));
  return '$type' in found ? { $type: 'map', value: found } : found;
}

function numberOf(digits: string): unknown {
  if (/[NI]/.test(digits)) {
    return { $type: 'float', value: digits };
  }
  if (!Number.isFinite(Number(digits)) && /[.eE]/.test(digits)) {
    throw new LineError(trans =>
      trans.__(
        'The parameter value %1 can’t be carried: no float holds it. Quote it to send text, or put it into a file and send it with %2.',
        digits.slice(0, 40),
        '--files'
      )
    );
  }
  return exact(digits);
}

function isDate(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}
