// Generates libs/gen from the protos. With --baseline it also writes the image that `buf breaking` compares
// against: run that when a version is released, and at no other time.
import { spawnSync } from 'node:child_process';
import process from 'node:process';

const root = new URL('..', import.meta.url).pathname;

function buf(...args) {
  const { status, error } = spawnSync('buf', args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

buf('format', '--write', 'proto');
buf(
  'generate',
  ...(process.argv.includes('--out') ? ['--output', process.argv[process.argv.indexOf('--out') + 1]] : []),
);
if (process.argv.includes('--baseline')) buf('build', 'proto', '--output', 'proto/baseline.binpb');
