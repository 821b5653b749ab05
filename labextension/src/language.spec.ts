import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

import { translations } from './language';
import catalogue from './locale/zh_CN.json';

/** The texts that go through the translator: all of the code, found as the compiler reads it. */
function texts(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      return texts(path);
    }
    return /(?<!\.spec)\.ts$/.test(path) ? textsIn(readFileSync(path, 'utf8')) : [];
  });
}

function textsIn(code: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node) => {
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const [first] = node.arguments;
      if (['__', '_n'].includes(node.expression.name.text) && first && ts.isStringLiteralLike(first)) {
        found.push(first.text);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('a.ts', code, ts.ScriptTarget.Latest, true));
  return found;
}

/** What people read of a schema of settings. */
function schemaTexts(schema: object): string[] {
  return Object.entries(schema).flatMap(([name, value]) => {
    if (typeof value === 'string') {
      return /^(title|description|.*-label)$/.test(name) && value ? [value] : [];
    }
    return name === 'properties' ? Object.values(value as Record<string, object>).flatMap(schemaTexts) : [];
  });
}

const schemas = readdirSync('schema').map(name => JSON.parse(readFileSync(join('schema', name), 'utf8')) as object);

const here = [...texts('src'), ...schemas.flatMap(schemaTexts)];
const there = Object.fromEntries(Object.entries(catalogue).filter(([text]) => text)) as unknown as Record<
  string,
  string[]
>;

describe('the Chinese catalogue', () => {
  it('has every text, and none that is gone', () => {
    expect(here.length).toBeGreaterThan(200);
    expect([...new Set(here)].filter(text => !there[text])).toEqual([]);
    expect(Object.keys(there).filter(text => !here.includes(text))).toEqual([]);
  });

  it('keeps what stands for names and numbers', () => {
    const places = (text: string) => (text.match(/%\d/g) ?? []).sort();
    const wrong = Object.entries(there).filter(
      ([text, [translated]]) => String(places(text)) !== String(places(translated))
    );
    expect(wrong).toEqual([]);
  });
});

describe('the language of the page', () => {
  const page = (languageCode: string): ITranslator => ({ languageCode, load: () => nullTranslator.load('x') });

  it('is Chinese where Lab is, also without a language pack', async () => {
    const bundle = await translations(page('zh-CN'));
    expect(bundle.__('Queued')).toBe('排队中');
    expect(bundle._n('%1 job', '%1 jobs', 3, 3)).toBe('3 个作业');
    expect(bundle.__('%1, number %2 in line', 'a', 2)).toBe('a，排在第 2 位');
  });

  it('is English elsewhere, and what the language pack says where there is one', async () => {
    expect((await translations(page('de-DE'))).__('Queued')).toBe('Queued');
    expect((await translations(null)).__('Queued')).toBe('Queued');
    const pack = { __: () => '等待' } as never;
    expect((await translations({ languageCode: 'zh-CN', load: () => pack })).__('Queued')).toBe('等待');
  });
});
