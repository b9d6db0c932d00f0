import { parseArgs } from 'node:util';
import { injectBug } from './inject-bug.ts';

const { values } = parseArgs({
  options: {
    histories: { type: 'string', default: '1000' },
    seed: { type: 'string', default: new Date().toISOString().slice(0, 10) },
    replay: { type: 'string' },
    bug: { type: 'string' },
    failures: { type: 'string', default: '10' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(`npm run simulate -- [--histories N] [--seed S] [--replay S] [--bug NAME]

--histories N  how many histories are lived (default 1000)
--seed S       what they are made from (default: today's date, in UTC)
--replay S     lives one history again by its seed, makes it as small as it goes, and tells it
--failures N   ends at this many failures (default 10)
--bug NAME     lives them with a deliberate bug in the code, which must be found: test/simulation/bugs.ts
`);
} else {
  const histories = Number(values.histories);
  if (!Number.isInteger(histories) || histories < 1)
    throw new RangeError(`--histories must be a whole number from 1, not ${values.histories}`);
  // Before anything else is loaded.
  if (values.bug !== undefined) injectBug(values.bug);
  // Errors are made by the thousand, and nobody looks at where.
  if (values.replay === undefined) Error.stackTraceLimit = 0;
  const { campaign, replay } = await import('./report.ts');
  const write = (line: string): void => void process.stdout.write(`${line}\n`);
  let firstFailure: string | undefined;
  const report =
    values.replay === undefined
      ? await campaign({
          seed: values.seed,
          histories,
          mostFailures: Number(values.failures),
          onFailure: (seed, violations) => {
            firstFailure ??= seed;
            write(`${seed}: ${violations.slice(0, 3).join('; ')}`);
            write(`  npm run simulate -- --replay ${seed}`);
          },
        })
      : await replay(values.replay, write);
  // Of a deliberate bug nobody wants to know the story.
  if (firstFailure !== undefined && values.bug === undefined) await replay(firstFailure, write);
  write(JSON.stringify(report));
  process.exitCode = report.failures > 0 ? 1 : 0;
}
