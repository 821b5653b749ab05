import { readdirSync, readFileSync } from 'node:fs';

import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it, vi } from 'vitest';

import { translations } from './language';
import { translateSettings, WITH_SETTINGS } from './settings';

/** As much of Lab's registry as is used, with our own schemas. */
function registry() {
  const plugins = Object.fromEntries(
    WITH_SETTINGS.map(id => {
      const schema = JSON.parse(readFileSync(`schema/${id.split(':')[1]}.json`, 'utf8'));
      return [id, { id, schema }];
    })
  );
  const load = (id: string) => Promise.resolve(plugins[id]);
  return { plugins, load } as unknown as ISettingRegistry;
}

const page = (languageCode: string): ITranslator => ({ languageCode, load: () => nullTranslator.load('x') });

describe('the titles of settings', () => {
  it('are in the language of the page', async () => {
    const found = registry();
    await translateSettings(found, await translations(page('zh-CN')));
    const { title, properties } = found.plugins['jupyter-trainjob:panel']!.schema;
    expect([title, properties!.notify.title]).toEqual(['作业', '作业结束时通知']);
    expect(properties!.notify.description).toContain('--notify');
    expect(found.plugins['jupyter-trainjob:submit']!.schema.title).toBe('提交作业');
  });

  it('stay as they are in English', async () => {
    const found = registry();
    await translateSettings(found, await translations(null));
    expect(found.plugins).toEqual(registry().plugins);
  });

  it('are translated where others can’t be had, which is told', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const found = registry();
    const { load } = found;
    found.load = id => (id === 'jupyter-trainjob:panel' ? Promise.reject(new Error('no schema')) : load(id));
    await translateSettings(found, await translations(page('zh-CN')));
    expect(found.plugins['jupyter-trainjob:submit']!.schema.title).toBe('提交作业');
    expect(warned.mock.calls.map(String)).toEqual([expect.stringMatching(/jupyter-trainjob:panel.*no schema/)]);
    warned.mockRestore();
  });

  it('are of all schemas there are', () => {
    expect(readdirSync('schema').sort()).toEqual(WITH_SETTINGS.map(id => `${id.split(':')[1]}.json`).sort());
  });
});
