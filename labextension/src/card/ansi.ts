import '../../style/ansi.css';

import Anser from 'anser';

/* Operating-system commands, all escapes but colours, and control characters that no text needs. */
const NOT_TEXT =
  // eslint-disable-next-line no-control-regex
  /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[@-ln-~]|\x1b[@-Z\\^_]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g;

/**
 * Text with ANSI colours as spans. Text nodes only: nothing in a log becomes markup.
 */
export function ansiFragment(text: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  for (const part of Anser.ansiToJson(text.replace(NOT_TEXT, ''), { json: true, use_classes: true })) {
    if (part.content === '') {
      continue;
    }
    const span = document.createElement('span');
    span.textContent = part.content;
    paint(span, part.fg, part.fg_truecolor, part.bg ? 'color' : '--tj-exact');
    paint(span, part.bg, part.bg_truecolor, 'background-color');
    for (const decoration of part.decorations) {
      span.classList.add(`tj-ansi-${decoration}`);
    }
    fragment.append(span);
  }
  return fragment;
}

type Property = 'color' | 'background-color' | '--tj-exact';

/**
 * Colours with names are the theme's. Others are the job's own; on a background that is the theme's, `--tj-exact` lets the
 * style sheet keep their hue and take a lightness that can be read there.
 */
function paint(span: HTMLElement, colour: string | null, trueColour: string | null, property: Property): void {
  if (!colour) {
    return;
  }
  const palette = /^ansi-palette-(\d+)$/.exec(colour);
  const exact = palette ? paletteColour(Number(palette[1])) : trueColour && `rgb(${trueColour})`;
  if (!exact || !(palette || colour === 'ansi-truecolor')) {
    span.classList.add(`tj-${colour}-${property === 'background-color' ? 'bg' : 'fg'}`);
    return;
  }
  span.style.setProperty(property, exact);
  if (property === '--tj-exact') {
    span.classList.add('tj-ansi-exact-fg');
  }
}

/** Colours 16 to 255 of xterm: a cube of 6×6×6 and 24 greys. */
function paletteColour(index: number): string {
  if (index >= 232) {
    const grey = 8 + 10 * (index - 232);
    return `rgb(${grey}, ${grey}, ${grey})`;
  }
  const level = (step: number) => (step === 0 ? 0 : 55 + 40 * step);
  const cube = index - 16;
  return `rgb(${level(Math.floor(cube / 36))}, ${level(Math.floor(cube / 6) % 6)}, ${level(cube % 6)})`;
}
