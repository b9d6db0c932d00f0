// `npm test`: installs what is missing, then runs every check and every test, stage by stage, up to the first that
// fails. The last line is always "N passed, N failed".
//
//   npm test                      everything
//   npm test -- unit lint         these stages
//   npm test -- unit listener     of a stage the test files whose path contains "listener"
//   npm test -- listener          of all tests those
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { environment, install, node24, root, seconds } from './workspace.mjs';

/** Programs that fail when something is wrong. */
const checks = {
  lint: ['biome', 'ci', '--error-on-warnings', '.'],
  types: ['tsc', '-b'],
  dependencies: ['node', 'tools/check-dependencies.mjs'],
  protos: ['node', 'tools/check-protos.mjs'],
};
/** Projects of vitest.config.ts. */
const suites = {
  unit: ['core', 'unit'],
  simulation: ['simulation'],
  integration: ['integration'],
  e2e: ['e2e'],
};

const words = process.argv.slice(2);
const named = words.filter((word) => word in checks || word in suites);
const filters = words.filter((word) => !named.includes(word));

const results = join(root, '.build', 'test-results');
rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });

let running;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    // A terminal tells the child by itself; its end is the stage's failure.
    if (signal === 'SIGTERM' || !process.stdin.isTTY) running?.kill(signal);
  });
}

const total = { passed: 0, failed: 0 };
const failure = await runAll();
if (failure !== undefined) {
  console.error(`\nstopped at the first failure: ${failure}`);
  // What failed without a failed test (a check, a file that does not load) counts as one.
  total.failed = Math.max(total.failed, 1);
}
const summary = `${total.passed} passed, ${total.failed} failed`;
writeFileSync(join(results, 'summary.txt'), `${summary}\n`);
console.log(`\n${summary}`);
process.exitCode = failure === undefined ? 0 : 1;

/** Runs the stages in turn; answers which one failed. */
async function runAll() {
  try {
    await install();
  } catch (error) {
    return error.message;
  }
  if (named.length === 0 && filters.length > 0) {
    if (!(await timed('tests', () => runSuite('tests', [])))) return 'tests';
  } else {
    for (const stage of named.length > 0 ? named : [...Object.keys(checks), ...Object.keys(suites)]) {
      const work = () => (stage in checks ? run(checks[stage]) : runSuite(stage, suites[stage]));
      if (!(await timed(stage, work))) return stage;
    }
  }
  return filters.length > 0 && total.passed === 0 ? `no test file matches ${filters.join(' ')}` : undefined;
}

async function timed(stage, work) {
  console.log(`\n━━ ${stage}`);
  const started = performance.now();
  const ok = await work();
  console.log(`━━ ${stage} ${ok ? 'passed' : 'FAILED'} in ${seconds(performance.now() - started)}`);
  return ok;
}

/** Runs the tests of some projects (of all when none is named), and adds them up. */
async function runSuite(stage, projects) {
  const report = join(results, `${stage}.json`);
  const ok = await run([
    ...['node', 'node_modules/vitest/vitest.mjs', 'run', '--configLoader', 'native'],
    ...projects.flatMap((project) => ['--project', project]),
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    ...(filters.length > 0 ? ['--passWithNoTests', ...filters] : []),
  ]);
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8'));
    total.passed += numPassedTests;
    total.failed += numFailedTests;
  } catch (error) {
    // A run that broke off leaves no report; its exit code told.
    if (ok) throw error;
  }
  return ok;
}

/** Runs a program of the workspace to its end; whether it succeeded. */
function run([program, ...args]) {
  return new Promise((resolve) => {
    const child = spawn(program === 'node' ? node24() : program, args, {
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
