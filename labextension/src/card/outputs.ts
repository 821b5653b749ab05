import { TranslationBundle } from '@jupyterlab/translation';

import { TrainJobClient } from '../api/client';
import { IJobRef, IOutputs } from '../api/types';
import { element } from './dom';
import { address, bytes } from './words';

/** More than this is better listed with `%trainjob files`. */
const FILES_SHOWN = 50;

/** Of results by their format; a frame is CSV below a first line that tells its types. */
const SUFFIXES: Record<string, string> = { frame: 'csv', json: 'json' };

/** What a job left behind, each with a link that downloads it; `own` is the namespace of the one who looks. */
export function outputsList(
  ref: IJobRef,
  outputs: IOutputs,
  client: TrainJobClient,
  trans: TranslationBundle,
  own: string
): Node {
  const items: HTMLElement[] = [];
  for (const result of outputs.results) {
    if (result.error) {
      items.push(element('li', {}, trans.__('%1 could not be brought back: %2', result.name, result.error)));
    } else {
      const suffix = SUFFIXES[result.format ?? ''] ?? 'pkl';
      const link = download(client.resultUrl(ref, result.name), `${result.name}.${suffix}`, result.name);
      const about = [result.type, bytes(result.size ?? 0)].filter(Boolean).join(', ');
      items.push(
        element(
          'li',
          {},
          link,
          ` — ${about}; `,
          element('code', {}, `%trainjob results ${address(ref, own, result.name)}`)
        )
      );
    }
  }
  for (const file of outputs.files.slice(0, FILES_SHOWN)) {
    const name = file.path.split('/').pop() ?? file.path;
    items.push(element('li', {}, download(client.fileUrl(ref, file.path), name, file.path), ` — ${bytes(file.size)}`));
  }
  const more = outputs.filesTotal - Math.min(outputs.files.length, FILES_SHOWN);
  if (more > 0) {
    items.push(element('li', {}, trans._n('and %1 more file', 'and %1 more files', more, more)));
  }
  return element('ul', {}, ...items);
}

function download(url: string, name: string, label: string): HTMLAnchorElement {
  return element('a', { href: url, download: name }, label);
}
