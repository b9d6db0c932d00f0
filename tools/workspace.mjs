// What `npm start` and `npm test` need before anything else can run: the packages, and Node 24. Works with Node 20
// and without any package.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { withInstallLock } from './install-lock.mjs';

/** The checkout's folder. */
export const root = fileURLToPath(new URL('..', import.meta.url));

const bin = join(root, 'node_modules', '.bin');

/** Installs the packages of the lock file, unless they are all there. */
export async function install() {
  if (countMissing() === 0) return;
  await withInstallLock(join(root, '.build'), installMissing, (pid) =>
    console.log(`waiting for process ${pid}, which installs here too`),
  );
}

/** Whoever held the lock before may have installed everything. */
function installMissing() {
  const missing = countMissing();
  if (missing === 0) return;
  console.log(`installing: ${missing} packages are missing or of another version`);
  const started = performance.now();
  const npm = process.env.npm_execpath;
  const [command, ...args] = npm ? [process.execPath, npm] : ['npm'];
  // Under an older Node, npm warns of every package that wants a newer one; they get Node 24, which comes with them.
  args.push('ci', '--loglevel=error');
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) throw new Error(`npm ci failed with code ${status}: see above`);
  console.log(`installed in ${seconds(performance.now() - started)}`);
}

function countMissing() {
  return missingPackages(readLock('package-lock.json'), readLock('node_modules/.package-lock.json'));
}

/**
 * How many packages of the lock file are not installed in its version. Optional ones are not counted: those for
 * other platforms never are installed.
 */
export function missingPackages(locked, installed) {
  return Object.entries(locked.packages).filter(([path, { version, link, optional }]) => {
    if (path === '' || optional || !path.includes('node_modules/')) return false;
    const found = installed?.packages[path];
    return found === undefined || found.version !== version || found.link !== link;
  }).length;
}

function readLock(path) {
  const file = join(root, path);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

/** The path of a Node 24 or later: the one that runs this, or the one among the packages. */
export function node24() {
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  const installed = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node');
  if (existsSync(installed)) return installed;
  throw new Error(
    `Node 24 is needed, this is ${process.versions.node}, and npm has none for this platform: install it`,
  );
}

/**
 * The environment for programs of the workspace: those among the packages come first, and what Node has compiled, and stripped of
 * types, is kept for the next start, which then takes half the time.
 */
export function environment() {
  return {
    NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node-compile'),
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH ?? ''}`,
  };
}

/** A duration as people read it. */
export function seconds(ms) {
  return `${(ms / 1_000).toFixed(1)} s`;
}
