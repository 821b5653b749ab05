import { Dialog } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

/** A dialog around a form. Lab's own takes Enter in any field for its last button, which here closes it: Enter is the form's. */
export class FormDialog extends Dialog<unknown> {
  constructor(title: string, body: Widget, close: string) {
    super({ title, body, buttons: [Dialog.cancelButton({ label: close })], hasClose: true });
    this._form = body.node;
    this.addClass('jp-TrainJobSubmitDialog');
  }

  handleEvent(event: Event): void {
    const key = event instanceof KeyboardEvent ? event.key : '';
    if (key === 'Enter' && this._form.contains(document.activeElement)) {
      event.stopPropagation(); // of Lab's shortcuts too
      const field = document.activeElement;
      if (field instanceof HTMLInputElement) {
        event.preventDefault();
        field.form?.requestSubmit();
      }
      return;
    }
    super.handleEvent(event);
  }

  private _form: HTMLElement;
}
