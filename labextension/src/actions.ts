import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { told } from './api/client';
import { IJobRef, isFinal, ITrainJob, refOf } from './api/types';
import { NotebookOpener } from './card/notebook';
import { JobStore } from './store/jobs';

/** As many requests at a time, where many jobs are acted upon. */
const AT_ONCE = 4;
/** Failures that are told one by one. */
const TOLD = 3;

/** What people do with jobs, wherever they stand. Each asks where it can't be undone, and says in the server's words what failed. */
export class JobActions {
  constructor(
    private _store: JobStore,
    private _opener: NotebookOpener,
    private _trans: TranslationBundle
  ) {}

  async cancel(jobs: ITrainJob[]): Promise<void> {
    const trans = this._trans;
    const open = jobs.filter(job => !isFinal(job));
    if (
      open.length &&
      (await this._sure(this._cancelTitle(open), trans.__('Cancel the job'), trans.__('Let it run')))
    ) {
      await this._each(open, async job => this._store.accept(await this._store.client.cancel(refOf(job))));
    }
  }

  async retry(jobs: ITrainJob[]): Promise<void> {
    await this._each(jobs.filter(isFinal), async job => this._store.accept(await this._store.client.retry(refOf(job))));
  }

  async hold(jobs: ITrainJob[]): Promise<void> {
    await this._each(jobs, async job => this._store.accept(await this._store.client.hold(refOf(job))));
  }

  async release(jobs: ITrainJob[]): Promise<void> {
    await this._each(jobs, async job => this._store.accept(await this._store.client.release(refOf(job))));
  }

  async front(jobs: ITrainJob[]): Promise<void> {
    await this._each(jobs, async job => this._store.accept(await this._store.client.front(refOf(job))));
  }

  /** Asks for a word to its owner, which may be left out. */
  async approve(job: ITrainJob): Promise<void> {
    const trans = this._trans;
    const word = await this._word(trans.__('Approve %1?', job.metadata.name), trans.__('Approve'));
    if (word !== null) {
      await this._each([job], async () => this._store.accept(await this._store.client.approve(refOf(job), word)));
    }
  }

  async reject(job: ITrainJob): Promise<void> {
    const trans = this._trans;
    const word = await this._word(
      trans.__('Refuse %1? It ends without having run.', job.metadata.name),
      trans.__('Refuse')
    );
    if (word !== null) {
      await this._each([job], async () => this._store.accept(await this._store.client.reject(refOf(job), word)));
    }
  }

  async setPriority(jobs: ITrainJob[], priority: number): Promise<void> {
    await this._each(jobs, async job => this._store.accept(await this._store.client.patch(refOf(job), { priority })));
  }

  async remove(jobs: ITrainJob[]): Promise<void> {
    const trans = this._trans;
    const title =
      jobs.length === 1
        ? trans.__('Delete %1?', jobs[0].metadata.name)
        : trans._n('Delete %1 job?', 'Delete %1 jobs?', jobs.length, jobs.length);
    const body = trans.__('Its log and all that it left go with it.');
    if (jobs.length && (await this._sure(title, trans.__('Delete'), trans.__('Keep'), body))) {
      await this._each(jobs, job => this._store.client.remove(refOf(job)));
    }
  }

  /** Asks for `name=value`, or `name` alone to take a label away. */
  async label(jobs: ITrainJob[]): Promise<void> {
    const trans = this._trans;
    const answer = await InputDialog.getText({
      title: trans._n('Label %1 job', 'Label %1 jobs', jobs.length, jobs.length),
      label: trans.__('name=value; the name alone takes the label away'),
      okLabel: trans.__('Set'),
      cancelLabel: trans.__('Leave it')
    });
    const text = answer.button.accept ? (answer.value ?? '').trim() : '';
    if (text) {
      const at = text.indexOf('=');
      const labels = at < 0 ? { [text]: null } : { [text.slice(0, at).trim()]: text.slice(at + 1).trim() };
      await this._each(jobs, async job => this._store.accept(await this._store.client.patch(refOf(job), { labels })));
    }
  }

  async openNotebook(ref: IJobRef, folder: string): Promise<void> {
    await this._tell(() => this._opener.open(ref, folder));
  }

  /** All that a job left, as one file that the browser saves. */
  download(ref: IJobRef): void {
    const link = document.createElement('a');
    link.href = this._store.client.archiveUrl(ref);
    link.download = `${ref.name}.tar`;
    document.body.append(link);
    link.click();
    link.remove();
  }

  private async _word(title: string, yes: string): Promise<string | null> {
    const trans = this._trans;
    const answer = await InputDialog.getText({
      title,
      label: trans.__('A word to its owner, if you like'),
      okLabel: yes,
      cancelLabel: trans.__('Leave it')
    });
    return answer.button.accept ? (answer.value ?? '').trim() : null;
  }

  private _cancelTitle(jobs: ITrainJob[]): string {
    return jobs.length === 1
      ? this._trans.__('Cancel %1?', jobs[0].metadata.name)
      : this._trans._n('Cancel %1 job?', 'Cancel %1 jobs?', jobs.length, jobs.length);
  }

  private async _sure(title: string, yes: string, no: string, body?: string): Promise<boolean> {
    const answer = await showDialog({
      title,
      body: body ?? this._trans.__('What it has printed and saved so far is kept.'),
      buttons: [Dialog.cancelButton({ label: no }), Dialog.warnButton({ label: yes })]
    });
    return answer.button.accept;
  }

  /** Does it to all; what fails for some is told together. */
  private async _each(jobs: ITrainJob[], action: (job: ITrainJob) => Promise<void>): Promise<void> {
    const due = [...jobs];
    const failed: string[] = [];
    const worker = async () => {
      for (let job = due.shift(); job; job = due.shift()) {
        try {
          await action(job);
        } catch (error) {
          failed.push(`${job.metadata.name}: ${told(error)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (failed.length) {
      const more = failed.length - TOLD;
      const rest = more > 0 ? [this._trans._n('and %1 more job', 'and %1 more jobs', more, more)] : [];
      Notification.error([...failed.slice(0, TOLD), ...rest].join('\n'), { autoClose: false });
    }
  }

  private async _tell(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      Notification.error(told(error), { autoClose: false });
    }
  }
}
