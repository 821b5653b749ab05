/** A log as a file of the browser's. */
import { element } from '../card/dom';
import { Fetch } from './window';

const PIECE = 1024 * 1024;

/** Reads `[0, size)`, as far as it is there; `onward` is told how far it has come. */
export async function wholeLog(fetch: Fetch, size: number, onward: (at: number) => void): Promise<Blob> {
  const parts: Blob[] = []; // which the browser may keep on disk, as it does with large ones
  for (let at = 0; at < size;) {
    const chunk = await fetch(at, PIECE);
    if (chunk.nextOffset <= at) {
      break;
    }
    parts.push(new Blob([chunk.data as Uint8Array<ArrayBuffer>]));
    at = chunk.nextOffset;
    onward(at);
  }
  return new Blob(parts, { type: 'text/plain' });
}

/** Hands bytes to the browser as a file. */
export function saveAs(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = element('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
