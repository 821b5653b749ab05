import { describe, expect, it } from 'vitest';

import { ApiError } from '../api/client';
import { translations } from '../language';
import { parseLine } from './options';
import { problemWords } from './problem';

describe('what is wrong with what was typed', () => {
  it('is said in the language of the page', async () => {
    const chinese = await translations({
      languageCode: 'zh-CN',
      load: () => ({ __: (text: string) => text }) as never
    });
    const wrong = (() => {
      try {
        return parseLine('--cpu');
      } catch (error) {
        return error;
      }
    })();
    expect((wrong as Error).message).toBe('--cpu lacks its value.');
    expect(problemWords(wrong, chinese)).toBe('--cpu 缺少值。');
  });

  it('and what the server says, in its words', async () => {
    const chinese = await translations({
      languageCode: 'zh-CN',
      load: () => ({ __: (text: string) => text }) as never
    });
    expect(problemWords(new ApiError(422, 'No.', 'Do this.'), chinese)).toBe('No. Do this.');
  });
});
