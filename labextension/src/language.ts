import { Gettext, ITranslator, nullTranslator, TranslationBundle } from '@jupyterlab/translation';

const DOMAIN = 'jupyter_trainjob';
/** A text that every translation of ours has. */
const PROBE = 'Queued';

/**
 * Our texts in the page's language. Lab loads catalogues of extensions only where its own language pack is installed;
 * where it is not, ours comes from here.
 */
export async function translations(translator: ITranslator | null): Promise<TranslationBundle> {
  const found = (translator ?? nullTranslator).load(DOMAIN);
  const ours = /^zh([-_](CN|Hans|SG))?$/i.test(translator?.languageCode ?? '');
  if (!ours || found.__(PROBE) !== PROBE) {
    return found;
  }
  const { default: catalogue } = await import('./locale/zh_CN.json');
  const { '': about, ...texts } = catalogue;
  const bundle = new Gettext({ domain: DOMAIN, locale: about.language });
  const header = { domain: DOMAIN, language: about.language, pluralForms: about.plural_forms };
  bundle.loadJSON({ '': header, ...texts }, DOMAIN);
  return bundle;
}
