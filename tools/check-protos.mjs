// The protos: formatted, linted, compatible with the released baseline, and libs/gen is what they generate.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

const root = new URL('..', import.meta.url).pathname;

function buf(...args) {
  const { status, error } = spawnSync('buf', args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) {
    console.error(`buf ${args.join(' ')} failed`);
    process.exit(status ?? 1);
  }
}

function contents(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      return [path.slice(folder.length), readFileSync(path, 'utf8')];
    }),
  );
}

buf('format', '--diff', '--exit-code', 'proto');
buf('lint');
buf('breaking', 'proto', '--against', 'proto/baseline.binpb');

const fresh = mkdtempSync(join(tmpdir(), 'carillon-gen-'));
try {
  buf('generate', '--output', fresh);
  const expected = contents(join(fresh, 'libs/gen/src'));
  const committed = contents(join(root, 'libs/gen/src'));
  const stale = [...new Set([...expected.keys(), ...committed.keys()])].filter(
    (path) => expected.get(path) !== committed.get(path),
  );
  if (stale.length > 0) {
    console.error(
      `libs/gen is not what the protos generate; run \`npm run generate\`:\n  ${stale.join('\n  ')}`,
    );
    process.exit(1);
  }
  console.log(`protos: formatted, linted, compatible; ${expected.size} generated files are current`);
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
