import { element } from './dom';

/** Tabs as the ARIA patterns have them: one stop for the Tab key, arrows between them. */
export class Tabs {
  constructor(
    tabs: { id: string; label: string; node: HTMLElement }[],
    prefix: string,
    private _changed: (id: string) => void
  ) {
    for (const { id, label, node } of tabs) {
      const tab = element(
        'button',
        { type: 'button', role: 'tab', id: `${prefix}-${id}-tab`, 'aria-controls': `${prefix}-${id}`, 'data-id': id },
        label
      );
      tab.onclick = () => this.show(id);
      Object.entries({ role: 'tabpanel', id: `${prefix}-${id}`, 'aria-labelledby': tab.id }).forEach(([name, value]) =>
        node.setAttribute(name, value)
      );
      this._panels.set(id, { tab, node });
      this.bar.append(tab);
    }
    this.bar.addEventListener('keydown', event => this._key(event));
  }

  readonly bar = element('div', { class: 'jp-TrainJobTabs', role: 'tablist' });

  get shown(): string {
    return this._shown;
  }

  show(wanted: string): void {
    this._shown = wanted;
    for (const [id, { tab, node }] of this._panels) {
      tab.setAttribute('aria-selected', String(id === wanted));
      tab.tabIndex = id === wanted ? 0 : -1;
      node.hidden = id !== wanted;
    }
    this._changed(wanted);
  }

  private _key(event: KeyboardEvent): void {
    const ids = [...this._panels.keys()];
    const at = ids.indexOf(this._shown);
    const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, Home: -at, End: ids.length - 1 - at };
    if (event.key in steps) {
      event.preventDefault();
      event.stopPropagation();
      const id = ids[(at + steps[event.key] + ids.length) % ids.length];
      this.show(id);
      this._panels.get(id)!.tab.focus();
    }
  }

  private _panels = new Map<string, { tab: HTMLButtonElement; node: HTMLElement }>();
  private _shown = '';
}
