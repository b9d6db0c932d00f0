import { parseArgs } from 'node:util';
import { campaign } from './campaign.ts';
import { injectBug } from './inject-bug.ts';

const { values } = parseArgs({
  options: {
    histories: { type: 'string', default: '1000' },
    seed: { type: 'string', default: new Date().toISOString().slice(0, 10) },
    replay: { type: 'string' },
    bug: { type: 'string' },
    failures: { type: 'string', default: '10' },
    threads: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(`npm run simulate -- [--histories N] [--seed S] [--replay S] [--bug NAME]

--histories N  how many histories are lived (default 1000)
--seed S       what they are made from (default: today's date, in UTC)
--replay S     lives one history again by its seed, makes it as small as it goes, and tells it
--failures N   ends at this many failures, or soon after (default 10)
--threads N    how many threads live them (default: as many as run at once here)
--bug NAME     lives them with a deliberate bug in the code, which must be found: test/simulation/bugs.ts
`);
} else {
  const numberOf = (name: 'histories' | 'failures' | 'threads', text: string): number => {
    const number = Number(text);
    if (Number.isInteger(number) && number >= 1) return number;
    throw new RangeError(`--${name} must be a whole number from 1, not ${text}`);
  };
  // Before anything else is loaded. The threads of a campaign do it for themselves.
  if (values.bug !== undefined && values.replay !== undefined) injectBug(values.bug);
  const { replay } = await import('./report.ts');
  const write = (line: string): void => void process.stdout.write(`${line}\n`);
  let firstFailure: string | undefined;
  const report =
    values.replay === undefined
      ? await campaign({
          seed: values.seed,
          histories: numberOf('histories', values.histories),
          mostFailures: numberOf('failures', values.failures),
          ...(values.threads === undefined ? {} : { threads: numberOf('threads', values.threads) }),
          bug: values.bug,
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
