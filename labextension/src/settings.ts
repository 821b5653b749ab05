import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { TranslationBundle } from '@jupyterlab/translation';

/** The plugins that have a schema. */
export const WITH_SETTINGS = ['jupyter-trainjob:panel', 'jupyter-trainjob:submit'];

/** What people read of a schema. */
const TEXTS = ['title', 'description', 'jupyter.lab.setting-icon-label'];

interface ITexts {
  [name: string]: unknown;
  properties?: Record<string, ITexts | undefined>;
}

/**
 * Titles and descriptions of settings, in the page's language.
 *
 * Lab's server translates schemas, but only by what an installed language pack holds; what it has left in English is said here.
 */
export async function translateSettings(registry: ISettingRegistry, trans: TranslationBundle): Promise<void> {
  for (const id of WITH_SETTINGS) {
    try {
      await registry.load(id);
    } catch (reason) {
      console.warn(`jupyter-trainjob: no settings of ${id} to translate:`, reason);
    }
    const schema = registry.plugins[id]?.schema;
    if (schema) {
      translate(schema, trans);
    }
  }
}

function translate(schema: ITexts, trans: TranslationBundle): void {
  for (const name of TEXTS) {
    const text = schema[name];
    if (typeof text === 'string' && text) {
      schema[name] = trans.__(text);
    }
  }
  Object.values(schema.properties ?? {}).forEach(field => field && translate(field, trans));
}
