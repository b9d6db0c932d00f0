import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CHECKOUT } from './dev-stack.ts';

const run = promisify(execFile);
const SOURCE = join(CHECKOUT, 'test', 'e2e', 'python-client');
const BUILD = join(CHECKOUT, '.build', 'python-client');

/** Python with a client generated from the protos of this checkout. */
export interface PythonClient {
  /** Runs a script of `test/e2e/python-client`, and answers what it printed. */
  run(script: string, args: readonly string[]): Promise<string>;
}

/** Whether this machine has a Python that can make virtual environments. */
export function hasPython(): boolean {
  try {
    execFileSync('python3', ['-c', 'import venv, ensurepip'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * Installs gRPC for Python in a folder of the checkout that git ignores (once), and generates the client (always: the
 * protos are under test).
 * @throws Error when pip cannot install it.
 */
export async function generatePythonClient(): Promise<PythonClient> {
  const python = join(await installed(), 'bin', 'python');
  const generated = join(BUILD, `generated-${process.pid}`);
  await rm(generated, { recursive: true, force: true });
  await mkdir(generated, { recursive: true });
  const protos = (await readdir(join(CHECKOUT, 'proto'), { recursive: true })).filter((path) =>
    path.endsWith('.proto'),
  );
  await run(python, [
    ...['-m', 'grpc_tools.protoc', `--python_out=${generated}`, `--grpc_python_out=${generated}`],
    ...[join(CHECKOUT, 'proto'), join(CHECKOUT, 'third_party', 'protovalidate')].map((root) => `-I${root}`),
    ...[`-I${join(CHECKOUT, 'third_party', 'googleapis')}`],
    ...protos,
    'buf/validate/validate.proto',
  ]);
  return {
    run: async (script, args) => {
      const { stdout } = await run(python, [join(SOURCE, script), ...args], {
        env: { ...process.env, PYTHONPATH: generated },
        timeout: 60_000,
      });
      return stdout;
    },
  };
}

/** The virtual environment for the present requirements. */
async function installed(): Promise<string> {
  const requirements = join(SOURCE, 'requirements.txt');
  const version = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 12);
  const home = join(BUILD, `venv-${version}`);
  if (await exists(home)) return home;
  await mkdir(BUILD, { recursive: true });
  // Made under another name first: what was cut off must not look finished. Its scripts hold that name, so only
  // its python is used.
  const draft = `${home}-${process.pid}`;
  await run('python3', ['-m', 'venv', draft]);
  try {
    await run(join(draft, 'bin', 'python'), [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--requirement',
      requirements,
    ]);
  } catch (error) {
    throw new Error('pip could not install gRPC for Python, which this test needs', { cause: error });
  }
  await rename(draft, home);
  return home;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
