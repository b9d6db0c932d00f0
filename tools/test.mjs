// `npm test`: installs what is missing, then runs every check and every test, stage by stage, up to the first that
// fails. The last line is always "N passed, N failed".
//
//   npm test                      everything
//   npm test -- unit lint         these stages
//   npm test -- unit listener     of a stage the test files whose path contains "listener"
//   npm test -- listener          the same of all stages
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { environment, install, node24, root, seconds } from './workspace.mjs';

const checks = {
  lint: ['biome', 'ci', '--error-on-warnings', '.'],
  types: ['tsc', '-b'],
  dependencies: ['node', 'tools/check-dependencies.mjs'],
  protos: ['node', 'tools/check-protos.mjs'],
};
const suites = {
  unit: ['core', 'unit'],
  simulation: ['simulation'],
  integration: ['integration'],
  e2e: ['e2e'],
};

const words = process.argv.slice(2);
const named = words.filter((word) => word in checks || word in suites);
const filters = words.filter((word) => !named.includes(word));
const stages =
  named.length > 0 ? named : [...(filters.length > 0 ? [] : Object.keys(checks)), ...Object.keys(suites)];

const results = join(root, '.build', 'test-results');
rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });

install();
const node = node24();
let running;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    // A terminal tells the child by itself; its end is the stage's failure.
    if (signal === 'SIGTERM' || !process.stdin.isTTY) running?.kill(signal);
  });
}

const total = { passed: 0, failed: 0 };
let failed;
for (const stage of stages) {
  console.log(`\n━━ ${stage}`);
  const started = performance.now();
  const ok = stage in checks ? await run(checks[stage]) : await runSuite(stage);
  console.log(`━━ ${stage} ${ok ? 'passed' : 'FAILED'} in ${seconds(performance.now() - started)}`);
  if (!ok) {
    failed = stage;
    break;
  }
}

if (failed === undefined && filters.length > 0 && total.passed === 0) {
  console.error(`\nno test file matches ${filters.join(' ')}`);
  failed = 'the filter';
}
// What failed without a failed test (a check, a file that does not load) is one too.
if (failed !== undefined && total.failed === 0) total.failed = 1;
if (failed !== undefined) console.error(`\nstopped at the first failure: ${failed}`);
const summary = `${total.passed} passed, ${total.failed} failed`;
writeFileSync(join(results, 'summary.txt'), `${summary}\n`);
console.log(`\n${summary}`);
process.exitCode = failed === undefined ? 0 : 1;

/** Runs the tests of a stage, and adds them up. */
async function runSuite(stage) {
  const report = join(results, `${stage}.json`);
  const ok = await run([
    ...['node', 'node_modules/vitest/vitest.mjs', 'run', '--configLoader', 'native'],
    ...suites[stage].flatMap((project) => ['--project', project]),
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    ...(filters.length > 0 ? ['--passWithNoTests', ...filters] : []),
  ]);
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8'));
    total.passed += numPassedTests;
    total.failed += numFailedTests;
  } catch (error) {
    // Without tests there is no report, and after a crash; the exit code told which.
    if (error.code !== 'ENOENT') throw error;
  }
  return ok;
}

/** Runs a program of the workspace to its end; whether it succeeded. */
function run([program, ...args]) {
  return new Promise((resolve) => {
    const child = spawn(program === 'node' ? node : program, args, {
      cwd: root,
      env: environment(),
      stdio: 'inherit',
    });
    running = child;
    child.on('error', (error) => {
      console.error(error.message);
      resolve(false);
    });
    child.on('exit', (code) => resolve(code === 0));
  });
}
