// Loaded into a scheduler by `--import`: it holds its leases in tables of its own, `<CHAOS_LEASES>_leases` and `<CHAOS_LEASES>_terms`, so
// that it leads beside every other one.
import { registerHooks } from 'node:module';

const prefix = process.env.CHAOS_LEASES;
if (prefix === undefined) throw new Error('CHAOS_LEASES names the tables to hold leases in');

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.includes('/libs/db/src/tables/') || loaded.source === undefined || loaded.source === null)
      return loaded;
    const source =
      typeof loaded.source === 'string'
        ? loaded.source
        : Buffer.from(loaded.source as Uint8Array).toString('utf8');
    return { ...loaded, source: source.replaceAll(/\bscheduler_(leases|terms)\b/g, `${prefix}_$1`) };
  },
});
