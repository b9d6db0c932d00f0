import { parseArgs } from 'node:util';

/** A bench: prints rows as it goes, and returns its figures. */
interface Bench {
  readonly run: (args: readonly string[]) => Promise<object>;
}

/** The modules of the benches, by name. */
const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  'catch-up': () => import('./catch-up.ts'),
  flush: () => import('./flush.ts'),
  'first-bell': () => import('./first-bell.ts'),
  recurrence: () => import('./recurrence.ts'),
  'take-over': () => import('./take-over.ts'),
};

const { positionals } = parseArgs({ allowPositionals: true, strict: false });
const [name = '', ...args] = positionals;
const load = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
if (load === undefined) {
  console.error(`usage: npm run bench -- NAME [arguments]\nbenches: ${Object.keys(BENCHES).join(', ')}`);
  process.exitCode = 2;
} else {
  const bench = await load();
  console.log(JSON.stringify(await bench.run(args)));
}
