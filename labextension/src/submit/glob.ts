/** Which files a pattern names, as the Python client has it (`client/inputs.py`); tests/cases/options.json holds both to it: pure. */

const SKIPPED = ['__pycache__'];

/**
 * `*` and `?` stay within a folder, `**` goes through all, `[ab]` is one of these; a folder stands for all in it.
 *
 * What is hidden is left out, unless the pattern names something hidden.
 */
export function globTest(pattern: string): (path: string) => boolean {
  const text = pattern.replace(/\/+$/, '').replace(/\*\*\/|\*\*|\*|\?|\[!?[^\]]+\]|[.+^${}()|[\]\\]/g, part => {
    const words: Record<string, string> = { '**/': '(?:.*/)?', '**': '.*', '*': '[^/]*', '?': '[^/]' };
    if (part.length > 2 && part.startsWith('[')) {
      const inside = part.slice(1, -1).replace(/[\\[\]^]/g, '\\$&');
      return inside.startsWith('!') ? `(?!/)[^${inside.slice(1)}]` : `(?!/)[${inside}]`;
    }
    return words[part] ?? `\\${part}`;
  });
  const expression = new RegExp(`^${text}(?:/.*)?$`);
  const hidden = pattern.split('/').some(part => part.startsWith('.'));
  const skipped = (part: string) => SKIPPED.includes(part) || (part.startsWith('.') && !hidden);
  return path => expression.test(path) && (path === pattern || !path.split('/').some(skipped));
}

/** The folder below which all that a pattern names lies, and whether that may lie in folders of it, too. */
export function placeOf(pattern: string): { top: string; deep: boolean } {
  const fixed = pattern.split('/').slice(0, -1);
  const wild = fixed.findIndex(part => /[*?[]/.test(part));
  return { top: fixed.slice(0, wild < 0 ? undefined : wild).join('/'), deep: wild >= 0 || pattern.includes('**') };
}
