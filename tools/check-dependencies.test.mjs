import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';

const tool = fileURLToPath(new URL('check-dependencies.mjs', import.meta.url));
const roots = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
});

/** Runs the check on a tree made of these files: what it says, and its exit code. */
function check(files) {
  const root = mkdtempSync(join(tmpdir(), 'carillon-dependencies-'));
  roots.push(root);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  mkdirSync(join(root, 'node_modules/@carillon'), { recursive: true });
  for (const lib of ['core', 'db'])
    symlinkSync(join(root, 'libs', lib), join(root, 'node_modules/@carillon', lib));
  const { status, stdout, stderr } = spawnSync(process.execPath, [tool, root], { encoding: 'utf8' });
  return { status, faults: stderr.split('\n').filter((line) => line !== ''), summary: stdout.trim() };
}

const manifest = (dependencies) => JSON.stringify({ exports: { './*.ts': './src/*.ts' }, dependencies });

const sound = {
  'libs/core/package.json': manifest({}),
  'libs/core/src/noun.ts':
    "import { createHash } from 'node:crypto';\nexport const noun = createHash('sha256');\n",
  'libs/core/src/noun.test.ts':
    "import { readFileSync } from 'node:fs';\nimport './noun.ts';\nreadFileSync('x');\n",
  'libs/db/package.json': manifest({ '@carillon/core': '*' }),
  'libs/db/src/rows.ts': "import { noun } from '@carillon/core/noun.ts';\nexport const rows = [noun];\n",
  'services/runs/package.json': manifest({ '@carillon/db': '*' }),
  'services/runs/src/main.ts':
    "import { rows } from '@carillon/db/rows.ts';\nusing held = { [Symbol.dispose]() {} };\nexport const main = [rows, held];\n",
  'services/schedules/package.json': manifest({}),
  'services/schedules/src/main.ts': 'export const main = 1;\n',
};

test('a sound tree has no faults, and every file of it was read', () => {
  expect(check(sound)).toEqual({
    status: 0,
    faults: [],
    summary: 'dependencies: 5 files, 5 imports, 0 faults',
  });
});

test.each([
  [
    'core that does I/O',
    'libs/core/src/bad.ts',
    "import 'node:fs';",
    'core-is-pure: libs/core/src/bad.ts → fs',
  ],
  [
    'core that imports a library',
    'libs/core/src/bad.ts',
    "import '../../db/src/rows.ts';",
    'core-imports-nothing: libs/core/src/bad.ts → libs/db/src/rows.ts',
  ],
  [
    "one service that imports another's",
    'services/runs/src/bad.ts',
    "export * from '../../schedules/src/main.ts';",
    'services-import-libs-and-themselves: services/runs/src/bad.ts → services/schedules/src/main.ts',
  ],
  [
    'a type from where nothing may come from',
    'libs/db/src/bad.ts',
    "import type { main } from '../../../services/runs/src/main.ts';\nexport type Bad = typeof main;",
    'db-imports-core: libs/db/src/bad.ts → services/runs/src/main.ts',
  ],
  [
    'test code in production',
    'libs/core/src/bad.ts',
    "import './noun.test.ts';",
    'no-test-code-in-production: libs/core/src/bad.ts → libs/core/src/noun.test.ts',
  ],
  [
    'a package that is not declared',
    'services/schedules/src/bad.ts',
    "import '@carillon/core/noun.ts';",
    'undeclared: services/schedules/src/bad.ts → @carillon/core',
  ],
  ['nowhere', 'libs/db/src/bad.ts', "import './gone.ts';", 'resolvable: libs/db/src/bad.ts → ./gone.ts'],
  [
    'itself, in a circle',
    'libs/core/src/noun.ts',
    "import './other.ts';",
    'cycle: libs/core/src/noun.ts → libs/core/src/other.ts → libs/core/src/noun.ts',
    { 'libs/core/src/other.ts': "import './noun.ts';" },
  ],
  ['a file that cannot be parsed', 'libs/core/src/bad.ts', 'import {', /bad\.ts/],
])('it finds %s', (_, path, content, fault, more = {}) => {
  const { status, faults } = check({ ...sound, [path]: content, ...more });
  expect(status).toBe(1);
  if (fault instanceof RegExp) expect(faults.join('\n')).toMatch(fault);
  else expect(faults).toContain(fault);
});

test('a circle of types alone is none', () => {
  const { faults } = check({
    ...sound,
    'libs/core/src/a.ts': "import type { B } from './b.ts';\nexport interface A { b: B }\n",
    'libs/core/src/b.ts': "import type { A } from './a.ts';\nexport interface B { a: A }\n",
  });
  expect(faults).toEqual([]);
});

test('nothing to check is a fault', () => {
  expect(check({ 'README.md': '' })).toMatchObject({ status: 1, faults: ['there is nothing to check'] });
});
