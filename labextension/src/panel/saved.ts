import { InputDialog } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { TranslationBundle } from '@jupyterlab/translation';

import { IFilter } from '../store/groups';
import { ISavedFilter } from './filters';
import { IFilterStore } from './panel';

/** Saved filters lie in the settings, where one can also write them; without settings they last as long as the page. */
export function filtersIn(
  settings: Promise<ISettingRegistry.ISettings> | null,
  trans: TranslationBundle
): IFilterStore {
  let kept: ISavedFilter[] = [];
  const load = async () => {
    const found: unknown = (await settings)?.get('filters').composite;
    return (kept = Array.isArray(found) ? found.filter(hasName) : kept);
  };
  const keep = async (filters: ISavedFilter[]) => {
    kept = filters;
    await (await settings)?.set('filters', kept as never);
    return kept;
  };
  return {
    load,
    save: async (filter: IFilter) => {
      const answer = await InputDialog.getText({
        title: trans.__('Save this filter'),
        label: trans.__('Its name'),
        okLabel: trans.__('Save'),
        cancelLabel: trans.__('Leave it')
      });
      const name = answer.button.accept ? (answer.value ?? '').trim() : '';
      return name ? keep([...kept.filter(one => one.name !== name), { ...filter, name }]) : kept;
    },
    forget: name => keep(kept.filter(one => one.name !== name))
  };
}

function hasName(item: unknown): item is ISavedFilter {
  return typeof item === 'object' && item !== null && typeof (item as ISavedFilter).name === 'string';
}
