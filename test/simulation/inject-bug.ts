import { registerHooks } from 'node:module';
import { BUGS } from './bugs.ts';

/** Puts a deliberate fault into a module that has not been loaded yet. */
export function injectBug(name: string): void {
  const bug = BUGS.find((each) => each.name === name);
  if (!bug) throw new Error(`there is no bug ${name}: ${BUGS.map((each) => each.name).join(', ')}`);
  let injected = false;
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.endsWith(bug.file) || loaded.source === undefined || loaded.source === null) return loaded;
      const source =
        typeof loaded.source === 'string'
          ? loaded.source
          : Buffer.from(loaded.source as Uint8Array).toString('utf8');
      if (source.split(bug.find).length !== 2)
        throw new Error(`${bug.file} no longer has the place of ${bug.name}`);
      injected = true;
      return { ...loaded, source: source.replace(bug.find, () => bug.replace) };
    },
  });
  process.on('exit', () => {
    if (!injected) throw new Error(`${bug.file} was never loaded`);
  });
}
