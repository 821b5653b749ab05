import { ISeries } from '../api/types';

const WIDTH = 64;
const HEIGHT = 18;
const SVG = 'http://www.w3.org/2000/svg';

/** A metric's name, its latest value, and its course as points of a line. */
export interface ISpark {
  name: string;
  last: number;
  values: number[];
}

/** Of a job's metrics the one that was logged last; null where there is none to draw. */
export function sparkOf(series: ISeries): ISpark | null {
  let found: ISpark | null = null;
  let latest = -Infinity;
  for (const [name, metric] of Object.entries(series.metrics)) {
    const points = metric.points.filter(point => point[1] !== null);
    const time = points.length ? points[points.length - 1][2] : -Infinity;
    if (points.length && time >= latest) {
      latest = time;
      const values = points.map(point => point[1] as number);
      found = { name, last: values[values.length - 1], values };
    }
  }
  return found;
}

/** Where the line goes, in the picture's own units. */
export function polyline(values: number[]): string {
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  const step = WIDTH / Math.max(1, values.length - 1);
  return values
    .map((value, index) => {
      const y = HEIGHT - 2 - ((value - low) / range) * (HEIGHT - 4);
      return `${(index * step).toFixed(1)},${y.toFixed(1)}`;
    })
    .join(' ');
}

/** The picture: a line in the text's colour, without words of its own. */
export function sparkline(): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('class', 'jp-TrainJobSpark');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'polyline'));
  return svg;
}

export function drawSpark(svg: SVGSVGElement, spark: ISpark): void {
  svg.firstElementChild?.setAttribute('points', polyline(spark.values));
}

/** A number as short as it can be told. */
export function shortNumber(value: number, digits = 4): string {
  const size = Math.abs(value);
  if (value === 0 || (size >= 0.001 && size < 100_000)) {
    return String(Number(value.toPrecision(digits)));
  }
  return value.toExponential(2);
}
