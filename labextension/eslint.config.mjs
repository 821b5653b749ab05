import js from '@eslint/js';
import globals from 'globals';
import tseslint from 'typescript-eslint';

export default tseslint.config({ ignores: ['**/lib/**', 'node_modules/**'] }, js.configs.recommended, {
  files: ['src/**/*.ts', 'executor/src/**/*.ts'],
  extends: [tseslint.configs.recommendedTypeChecked],
  languageOptions: {
    globals: globals.browser,
    parserOptions: { project: './tsconfig.eslint.json', tsconfigRootDir: import.meta.dirname }
  },
  rules: {
    // what comes over the wire is any; api/ gives it its types
    '@typescript-eslint/no-unsafe-assignment': 'off',
    '@typescript-eslint/no-unsafe-member-access': 'off',
    '@typescript-eslint/no-unsafe-return': 'off',
    // Lumino's connect(slot, thisArg) binds
    '@typescript-eslint/unbound-method': 'off',
    '@typescript-eslint/naming-convention': [
      'error',
      { selector: 'interface', format: ['PascalCase'], custom: { regex: '^I[A-Z]', match: true } }
    ],
    curly: ['error', 'all'],
    eqeqeq: 'error',
    'no-restricted-properties': [
      'error',
      { property: 'innerHTML', message: 'Logs and names are other people’s text: use text nodes.' },
      { property: 'outerHTML', message: 'Logs and names are other people’s text: use text nodes.' },
      { property: 'insertAdjacentHTML', message: 'Logs and names are other people’s text: use text nodes.' }
    ]
  }
});
