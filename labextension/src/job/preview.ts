/** How a file can be shown with Lab's own renderers: pure. */
import { PathExt } from '@jupyterlab/coreutils';

/** Larger ones are for downloading. */
export const PREVIEW_BYTES = 4 * 1024 * 1024;

const IMAGES: Record<string, string> = {
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.gif': 'image/gif',
  '.webp': 'image/webp',
  '.bmp': 'image/bmp'
};

const TEXTS: Record<string, string> = {
  '.md': 'text/markdown',
  '.json': 'application/json',
  '.geojson': 'application/geo+json',
  '.tex': 'text/latex',
  '.html': 'text/plain', // shown as text: what ran elsewhere gets no page of its own here
  '.svg': 'text/plain'
};

const PLAIN = /\.(txt|log|csv|tsv|py|r|scala|sh|ya?ml|toml|ini|cfg|ivy|lock|err|out)$/i;

export interface IPreview {
  mime: string;
  binary: boolean;
}

/** Null where only a download makes sense. */
export function previewOf(path: string, size: number): IPreview | null {
  const suffix = PathExt.extname(path).toLowerCase();
  if (size > PREVIEW_BYTES) {
    return null;
  }
  if (IMAGES[suffix]) {
    return { mime: IMAGES[suffix], binary: true };
  }
  if (TEXTS[suffix] || PLAIN.test(path)) {
    return { mime: TEXTS[suffix] ?? 'text/plain', binary: false };
  }
  return null;
}

/** The bytes as a mime bundle holds them. */
export function bundleData(preview: IPreview, data: ArrayBuffer): unknown {
  if (preview.binary) {
    let text = '';
    const bytes = new Uint8Array(data);
    for (let from = 0; from < bytes.length; from += 0x8000) {
      text += String.fromCharCode(...bytes.subarray(from, from + 0x8000));
    }
    return btoa(text);
  }
  const text = new TextDecoder().decode(data);
  if (preview.mime.endsWith('json')) {
    try {
      return JSON.parse(text);
    } catch {
      return text; // no JSON after all: shown as text by whoever asked
    }
  }
  return text;
}
