import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const takeAClock = 'Take a Clock: the time is an input';

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'eslint.config.js'] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-console': 'error',
      complexity: ['error', 12],
      'max-depth': ['error', 3],
      'max-params': ['error', 4],
      'max-lines': ['error', { max: 300, skipComments: true, skipBlankLines: true }],
    },
  },
  {
    // Pure folders take time, chance and the process as inputs; only the outer ring may reach for them.
    files: ['src/**/*.ts'],
    // An HTTP call's time limit is the socket's, not the program's.
    ignores: ['src/main.ts', 'src/cli/**', 'src/node/**', 'src/kubernetes/exchange.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "NewExpression[callee.name='Date'][arguments.length=0]",
          message: takeAClock,
        },
        {
          selector: "MemberExpression[object.name='Date'][property.name='now']",
          message: takeAClock,
        },
        {
          selector: "MemberExpression[object.name='Math'][property.name='random']",
          message: 'Take a Random: chance is an input',
        },
        {
          selector: 'CallExpression[callee.name=/^set(Timeout|Interval|Immediate)$/]',
          message: 'Sleep on the Clock',
        },
        {
          selector: "MemberExpression[object.name='process']",
          message: 'Only main, cli and node may touch the process',
        },
      ],
    },
  },
  {
    // The Kubernetes client declares classes where it takes plain objects.
    files: ['src/kubernetes/**/*.ts'],
    rules: {
      '@typescript-eslint/no-misused-spread': 'off',
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
    },
  },
  {
    files: ['test/**/*.ts', 'demo/**/*.ts', 'build/**/*.ts', 'bench/**/*.ts'],
    rules: {
      'no-console': 'off',
      'max-lines': 'off',
      complexity: 'off',
      // node:test's describe and test return promises that the runner itself awaits.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'describe', 'it', 'suite'] },
          ],
        },
      ],
    },
  },
);
