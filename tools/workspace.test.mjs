import { expect, test } from 'vitest';
import { missingPackages } from './workspace.mjs';

const locked = {
  packages: {
    '': { name: 'root' },
    'libs/core': { version: '0.1.0' },
    'node_modules/@carillon/core': { resolved: 'libs/core', link: true },
    'node_modules/a': { version: '1.0.0' },
    'apps/cli/node_modules/b': { version: '2.0.0' },
    'node_modules/other-platform': { version: '1.0.0', optional: true },
  },
};

test.each([
  ['nothing is installed', undefined, 3],
  ['all is', {}, 0],
  ['a version differs', { 'node_modules/a': { version: '1.0.1' } }, 1],
  ['a package is gone', { 'apps/cli/node_modules/b': undefined }, 1],
  ['a workspace is not linked', { 'node_modules/@carillon/core': { version: '0.1.0' } }, 1],
])('%s', (_, changes, missing) => {
  const { 'node_modules/other-platform': __, '': ___, ...here } = locked.packages;
  const installed = changes && { packages: { ...here, ...changes } };
  expect(missingPackages(locked, installed)).toBe(missing);
});
