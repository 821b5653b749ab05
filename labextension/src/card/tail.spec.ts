import { describe, expect, it } from 'vitest';

import { ansiFragment } from './ansi';
import { LogTail } from './tail';

const encode = (text: string) => new TextEncoder().encode(text);

describe('the tail of a log', () => {
  it('keeps the last lines', () => {
    const tail = new LogTail(1000);
    tail.push(encode('one\ntwo\nthree\n'));
    expect(tail.lines(2)).toEqual(['two', 'three']);
  });

  it('shows a line that is still being written', () => {
    const tail = new LogTail(1000);
    tail.push(encode('one\nhal'));
    tail.push(encode('f'));
    expect(tail.lines(9)).toEqual(['one', 'half']);
  });

  it('begins the line anew at a carriage return, as progress bars do', () => {
    const tail = new LogTail(1000);
    tail.push(encode('epoch 1\repoch 2\repoch 3\r\nend\n'));
    expect(tail.lines(9)).toEqual(['epoch 3', 'end']);
  });

  it('joins a character that came in two pieces, and replaces what is no UTF-8', () => {
    const tail = new LogTail(1000);
    const bytes = encode('größe\n');
    tail.push(bytes.slice(0, 3));
    tail.push(bytes.slice(3));
    tail.push(new Uint8Array([0xff, 0x0a]));
    expect(tail.lines(9)).toEqual(['größe', '\ufffd']);
  });

  it('stays small for one endless line', () => {
    const tail = new LogTail(1000);
    for (let i = 0; i < 100; i++) {
      tail.push(encode('x'.repeat(1000)));
    }
    expect(tail.lines(9)).toEqual(['x'.repeat(1000)]);
  });

  it('leaves out the rest of a line whose beginning it has not', () => {
    const tail = new LogTail(1000);
    tail.push(encode('old\n'));
    tail.skip();
    tail.push(encode('est of a line\nnew\n'));
    expect(tail.lines(9)).toEqual(['new']);
  });
});

describe('colours', () => {
  it('become spans with classes', () => {
    const fragment = ansiFragment('\x1b[31mred\x1b[0m plain');
    const spans = [...fragment.querySelectorAll('span')];
    expect(spans.map(span => [span.className, span.textContent])).toEqual([
      ['tj-ansi-red-fg', 'red'],
      ['', ' plain']
    ]);
  });

  it('of the large palettes become colours', () => {
    const spans = [...ansiFragment('\x1b[38;5;196ma\x1b[38;2;1;2;3mb').querySelectorAll('span')];
    expect(spans.map(span => span.style.getPropertyValue('--tj-exact'))).toEqual(['rgb(255, 0, 0)', 'rgb(1, 2, 3)']);
    expect(spans.map(span => span.className)).toEqual(['tj-ansi-exact-fg', 'tj-ansi-exact-fg']);
  });

  it('stay as they are on a background of the job’s own', () => {
    const span = ansiFragment('\x1b[38;5;196;48;5;231ma').querySelector('span');
    expect([span?.style.color, span?.style.backgroundColor]).toEqual(['rgb(255, 0, 0)', 'rgb(255, 255, 255)']);
    expect(span?.className).toBe('');
  });

  it('never make markup of what a job prints', () => {
    const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>';
    const fragment = ansiFragment(`\x1b[1m${evil}\x1b[0m`);
    expect(fragment.textContent).toBe(evil);
    expect(fragment.querySelectorAll('img, script')).toHaveLength(0);
  });

  it('leave no other control sequences behind', () => {
    expect(ansiFragment('\x1b]0;title\x07a\x1b[2Kb\x1b[?25lc\x08d\x1b[10;20He').textContent).toBe('abcde');
  });
});
