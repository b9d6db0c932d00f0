// Who imports whom, by the rules of .dependency-cruiser.cjs. Takes another root as argument, for its own test.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseSync } from '@swc/core';
import { Visitor } from '@swc/core/Visitor.js';
import { cruise } from 'dependency-cruiser';

const here = fileURLToPath(new URL('..', import.meta.url));
const root = resolve(process.argv[2] ?? here);
process.chdir(root);
const folders = ['libs', 'services', 'apps', 'test', 'bench'].filter((folder) => existsSync(folder));
const sources = folders.flatMap(sourcesIn).map((path) => relative('.', path));

// The visitor that dependency-cruiser takes from swc does not know `using`, and gives the whole file up.
const { visitStatement } = Visitor.prototype;
Visitor.prototype.visitStatement = function (statement) {
  if (statement.type !== 'UsingDeclaration') return visitStatement.call(this, statement);
  statement.decls = this.visitVariableDeclarators(statement.decls);
  return statement;
};

const { forbidden, options } = createRequire(import.meta.url)(join(here, '.dependency-cruiser.cjs'));
const { enhancedResolveOptions, ...cruiseOptions } = options;
const { output } = await cruise(
  folders,
  { ...cruiseOptions, baseDir: root, validate: true, ruleSet: { forbidden }, enhancedResolveOptions },
  enhancedResolveOptions,
);
const modules = output.modules.filter((module) => sources.includes(module.source));

// A parser that fails finds no violations either: every file of ours must have been read.
const read = new Set(modules.map((module) => module.source));
const faults = [
  ...output.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`),
  ...undeclaredIn(modules),
  ...cyclesIn(modules).map((cycle) => `cycle: ${cycle.join(' → ')}`),
  ...sources.filter((path) => !read.has(path)).map((path) => `not read: ${path}`),
];
if (sources.length === 0) faults.push('there is nothing to check');

for (const fault of faults) console.error(fault);
const imports = modules.reduce((sum, module) => sum + module.dependencies.length, 0);
console.log(`dependencies: ${sources.length} files, ${imports} imports, ${faults.length} faults`);
process.exitCode = faults.length > 0 ? 1 : 0;

/** Packages that code of a workspace imports, and its package.json does not name; tests may use the root's. */
function undeclaredIn(modules) {
  const found = [];
  for (const { source, dependencies } of modules) {
    if (!/^(libs|services|apps)\//.test(source) || /[.-](under-)?test\.ts$|\/src\/test\//.test(source))
      continue;
    const folder = source.split('/').slice(0, 2).join('/');
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const declared = { ...manifest.dependencies, ...manifest.optionalDependencies, [manifest.name]: '' };
    for (const { module, coreModule } of dependencies) {
      if (coreModule || module.startsWith('.')) continue;
      const name = module
        .split('/')
        .slice(0, module.startsWith('@') ? 2 : 1)
        .join('/');
      if (!(name in declared)) found.push(`undeclared: ${source} → ${name}`);
    }
  }
  return found;
}

/**
 * Files that import one another in a circle. Imports of types alone are not counted, because nothing is left of
 * them when the program runs; dependency-cruiser does not tell them apart in what swc reads.
 */
function cyclesIn(modules) {
  const imports = new Map();
  for (const { source, dependencies } of modules) {
    const types = typesOnly(source);
    const loaded = dependencies.filter(({ module }) => !types.has(module));
    imports.set(
      source,
      loaded.map(({ resolved }) => resolved),
    );
  }
  const cycles = [];
  const done = new Set();
  const path = [];
  const visit = (source) => {
    if (done.has(source)) return;
    const at = path.indexOf(source);
    if (at >= 0) {
      cycles.push([...path.slice(at), source]);
      return;
    }
    path.push(source);
    for (const next of imports.get(source) ?? []) visit(next);
    path.pop();
    done.add(source);
  };
  for (const source of imports.keys()) visit(source);
  return cycles;
}

/** What a file imports, or exports again, only types from. */
function typesOnly(source) {
  const { body } = parseSync(readFileSync(source, 'utf8'), { syntax: 'typescript' });
  const from = (typeOnly) =>
    new Set(
      body
        .filter((item) => item.source && Boolean(item.typeOnly) === typeOnly)
        .map((item) => item.source.value),
    );
  return from(true).difference(from(false));
}

/** All TypeScript files below a folder. */
function sourcesIn(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return ['node_modules', 'dist'].includes(entry.name) ? [] : sourcesIn(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}
