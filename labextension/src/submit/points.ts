/** `--sweep` and `--repeat` made into the points of a sweep, as the Python magic makes them: pure. */
import { ILineOptions, pair, whole } from './options';
import { LineError } from './problem';
import { parameterValue } from './values';

export interface IPoint {
  parameters: Record<string, unknown>;
}

/** Every combination of the values, each so often as is said; null where neither option is given. */
export function pointsOf(options: ILineOptions): IPoint[] | null {
  const sweep = (options.sweep as string[] | undefined) ?? [];
  const repeat = options.repeat as string | undefined;
  if (!sweep.length && repeat === undefined) {
    if (options['max-parallel'] !== undefined) {
      throw new LineError(trans =>
        trans.__('--max-parallel is for --sweep and --repeat. Add one of them, or leave it out.')
      );
    }
    return null;
  }
  const times = repeat === undefined ? 1 : whole(repeat);
  if (times < 1) {
    throw new LineError(trans =>
      trans.__('--repeat %1: there is nothing to do. Write a whole number from 1 on.', times)
    );
  }
  const grid = new Map<string, unknown[]>();
  for (const text of sweep) {
    const [name, values] = pair(text, 'sweep');
    grid.set(name, splitValues(values).map(parameterValue));
  }
  let points: Record<string, unknown>[] = [{}];
  for (const [name, values] of grid) {
    points = points.flatMap(point => values.map(value => ({ ...point, [name]: value })));
  }
  return points.flatMap(parameters => Array.from({ length: times }, () => ({ parameters })));
}

/** At the commas that are in no brackets and no quotes: `[1, 2],[3]` is two lists. */
export function splitValues(text: string): string[] {
  const found = [''];
  let depth = 0;
  let quote = '';
  for (const letter of text) {
    if (quote) {
      quote = letter === quote ? '' : quote;
    } else if (letter === '"' || letter === "'") {
      quote = letter;
    } else if ('[{('.includes(letter)) {
      depth += 1;
    } else if (']})'.includes(letter)) {
      depth -= 1;
    } else if (letter === ',' && !depth) {
      found.push('');
      continue;
    }
    found[found.length - 1] += letter;
  }
  return found.map(one => one.trim());
}
