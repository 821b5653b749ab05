/** What is done to several jobs at once, or to the one that is pointed at: the bar above the list, and the menu. */
import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Menu } from '@lumino/widgets';

import { element, setText } from '../card/dom';
import { CommandIDs } from '../commands';

const GROUPS: readonly string[][] = [
  [CommandIDs.openSelected, CommandIDs.notebook, CommandIDs.download],
  [CommandIDs.cancel, CommandIDs.retry, CommandIDs.hold, CommandIDs.release],
  [CommandIDs.label, CommandIDs.compare, CommandIDs.copyName],
  [CommandIDs.remove]
];

/** The menu of the selected jobs; `closed` runs when it is gone. */
export function jobMenu(commands: CommandRegistry, closed: () => void): Menu {
  const menu = new Menu({ commands });
  GROUPS.forEach((group, index) => {
    if (index) {
      menu.addItem({ type: 'separator' });
    }
    group.forEach(command => menu.addItem({ command }));
  });
  menu.aboutToClose.connect(() => {
    // the command that was chosen runs after this
    setTimeout(() => {
      menu.dispose();
      closed();
    });
  });
  return menu;
}

/** Appears once several are selected. */
export class BulkBar {
  constructor(
    commands: CommandRegistry,
    private _trans: TranslationBundle
  ) {
    const button = (words: string, command: string) => {
      const found = element('button', { type: 'button', class: 'jp-TrainJobs-plain' }, words);
      found.onclick = () => void commands.execute(command);
      return found;
    };
    this.node.append(
      this._count,
      button(_trans.__('Cancel'), CommandIDs.cancel),
      button(_trans.__('Run again'), CommandIDs.retry),
      button(_trans.__('Label…'), CommandIDs.label),
      button(_trans.__('Compare'), CommandIDs.compare)
    );
  }

  readonly node = element('div', { class: 'jp-TrainJobs-bulk', hidden: '' });

  show(count: number): void {
    this.node.hidden = count < 2;
    setText(this._count, this._trans._n('%1 selected', '%1 selected', count, count));
  }

  private _count = element('span', { role: 'status' });
}
