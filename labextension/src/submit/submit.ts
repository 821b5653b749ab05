import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { ICodeCellModel } from '@jupyterlab/cells';
import { NotebookPanel } from '@jupyterlab/notebook';
import { Contents } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';

import { ApiError, ownNamespaceOf } from '../api/client';
import { IDraft, IJobRef, IMade, ITrainJob, refOf } from '../api/types';
import { MIME_TYPE } from '../card/renderer';
import { address } from '../card/words';
import { JobStore } from '../store/jobs';
import { collect, send } from './collect';
import { draftOf, readableName } from './draft';
import { ILineOptions, magicCell, parseLine, whole } from './options';
import { pointsOf } from './points';
import { LineError, problemWords } from './problem';

const SWEEP_LABEL = 'jupyter-trainjob/sweep';

export interface ISubmitContext {
  store: JobStore;
  contents: Contents.IManager;
  trans: TranslationBundle;
}

/** A cell's code, whether or not `%%trainjob` stands above it. */
export interface ICellToSend {
  source: string;
  id: string;
  /** The kernel's name and language, as the notebook has them. */
  kernel: string;
  language: string;
  /** The folder that files are named from. */
  folder: string;
}

/** The namespace where a job goes: the one that is named, else one's own. */
export async function namespaceFor(store: JobStore, draft: IDraft, named?: string): Promise<string> {
  return (draft.metadata.namespace = named ?? ownNamespaceOf(await store.client.me()));
}

/** Sends a cell; with `--dry-run` the answer is what would be, of a sweep its first job. Throws in words what is wrong. */
export async function sendCell(
  cell: ICellToSend,
  { store, contents }: ISubmitContext
): Promise<{ job: ITrainJob; dryRun: boolean } | { made: IMade }> {
  const magic = magicCell(cell.source);
  const options: ILineOptions = magic ? parseLine(magic.line) : {};
  const code = magic ? magic.code : cell.source;
  if (!code.trim()) {
    throw new LineError(trans =>
      magic
        ? trans.__('The cell is empty: write the code to run below the %1 line.', '%%trainjob')
        : trans.__('The cell is empty.')
    );
  }
  const source = { type: 'cell', code, cellId: cell.id.slice(0, 64), ...(magic && { firstLine: magic.firstLine }) };
  const draft = draftOf(source, options, 'cell', await collect(options, cell.folder, contents, store.client));
  if (!options.kernel && cell.language && cell.language !== 'python') {
    await chooseKernel(draft, cell, store);
  }
  const namespace = await namespaceFor(store, draft, options.namespace as string | undefined);
  const dryRun = options['dry-run'] === true;
  const points = pointsOf(options);
  if (points && !dryRun) {
    const most = options['max-parallel'] as string | undefined;
    const made = await store.client.submitPoints(namespace, draft, points, most === undefined ? most : whole(most));
    return { made };
  }
  if (points) {
    draft.spec.parameters = { ...(draft.spec.parameters as object | undefined), ...points[0].parameters };
  }
  const job = await store.client.submit(namespace, draft, dryRun);
  if (!dryRun) {
    store.accept(job);
  }
  return { job, dryRun };
}

/** The notebook's own kernel where jobs have one of that name, else any of its language. */
async function chooseKernel(draft: IDraft, { kernel, language }: ICellToSend, store: JobStore): Promise<void> {
  const there = await store.client.kernels();
  const chosen = there.some(({ name }) => name === kernel) ? { kernel } : { language: language.toLowerCase() };
  draft.spec.environment = { ...(draft.spec.environment as object | undefined), ...chosen };
}

/** The output that shows as a live card, as the magic makes it; `own` is the namespace of the one who sends it. */
export function cardOutput(ref: IJobRef, own: string) {
  const { uid, namespace, name } = ref;
  return {
    output_type: 'display_data',
    data: {
      [MIME_TYPE]: { uid, namespace, name },
      'text/plain': `Job ${name}: see it with jupyter trainjob show ${address(ref, own)}`
    },
    metadata: {}
  };
}

/** Many cards would fill the page: the panel has the jobs of a sweep together, by their label. */
export function sweepWords({ sweep, items }: IMade, trans: TranslationBundle): string {
  return [
    trans._n('%2: %1 job', '%2: %1 jobs', items.length, sweep),
    trans.__('In the panel of jobs, the label %1 shows them.', `${SWEEP_LABEL}=${sweep}`)
  ].join('\n');
}

function textOutput(text: string) {
  return { output_type: 'stream', name: 'stdout', text: `${text}\n` };
}

/** Sends a cell of a notebook that is open and puts the card below it. Says what went wrong. True if it was sent. */
export async function submitCell(
  model: ICodeCellModel,
  cell: Omit<ICellToSend, 'source' | 'id'>,
  context: ISubmitContext
): Promise<boolean> {
  const { trans } = context;
  try {
    const sent = await sendCell({ ...cell, source: model.sharedModel.getSource(), id: model.id }, context);
    if ('made' in sent) {
      model.outputs.clear();
      model.executionCount = null;
      model.outputs.add(textOutput(sweepWords(sent.made, trans)));
      return true;
    }
    const { job, dryRun } = sent;
    if (dryRun) {
      Notification.info(dryWords(job, trans), { autoClose: 10_000 });
    } else {
      const own = await context.store.client.ownNamespace();
      model.outputs.clear();
      model.executionCount = null;
      model.outputs.add(cardOutput(refOf(job), own));
    }
    return true;
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof LineError)) {
      throw error;
    }
    Notification.error(problemWords(error, trans), { autoClose: false });
    return false;
  }
}

/** Where a cell of a notebook would run if it ran here. */
export function whereOf(panel: NotebookPanel): Omit<ICellToSend, 'source' | 'id'> {
  const known = panel.model?.getMetadata('kernelspec') as { name?: string; language?: string } | undefined;
  const info = panel.model?.getMetadata('language_info') as { name?: string } | undefined;
  const kernel = panel.sessionContext.session?.kernel?.name ?? known?.name ?? '';
  const language = languageOf(info?.name ?? known?.language ?? '', kernel);
  return { kernel, language, folder: PathExt.dirname(panel.context.path) };
}

/** `R` → `r`; by the kernel's name where the notebook does not say. */
export function languageOf(named: string, kernel: string): string {
  const text = (named || kernel).toLowerCase();
  if (text === 'ir' || text === 'r') {
    return 'r';
  }
  const found = ['python', 'scala', 'toree', 'almond', 'spark'].find(word => text.includes(word));
  return found === undefined ? text : found === 'python' ? 'python' : 'scala';
}

/** Uploads a notebook as it is on screen; what to send as the source of a job. */
export async function notebookSource(panel: NotebookPanel, store: JobStore): Promise<{ source: object; name: string }> {
  const path = PathExt.basename(panel.context.path);
  const bytes = new TextEncoder().encode(JSON.stringify(panel.model!.toJSON()));
  const digest = await send(bytes, store.client);
  return { source: { type: 'notebook', digest, path }, name: readableName(path) };
}

/** What a dry run says. */
export function dryWords(job: ITrainJob, trans: TranslationBundle): string {
  const { position, waitingFor, estimatedStart } = job.status;
  const parts: string[] = [];
  if (!waitingFor && (position ?? 1) <= 1) {
    parts.push(trans.__('It would start at once.'));
  } else {
    parts.push(position ? trans.__('It would be number %1 in line.', position) : trans.__('It would wait.'));
    parts.push(waitingFor ?? '');
    if (estimatedStart) {
      parts.push(trans.__('Expected to start at %1.', new Date(estimatedStart).toLocaleTimeString()));
    }
  }
  return parts.filter(Boolean).join(' ');
}
