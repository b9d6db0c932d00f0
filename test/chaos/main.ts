import { parseArgs } from 'node:util';
import type { Fault, Length } from './fault.ts';
import { faults } from './faults/index.ts';
import { Random } from './random.ts';
import { type FaultResult, runFault } from './run-fault.ts';

const USAGE = `usage: npm run chaos -- [--only NAME,…] [--short] [--seed N] [--soak 60m]

Lets real processes fail in every named way while schedules are due each second, and judges every slot afterwards.
The last line is one JSON object.

${faults.map(({ name, numbers, story }) => `  ${name.padEnd(22)} ${numbers.join(', ').padEnd(8)} ${story}`).join('\n')}
`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    short: { type: 'boolean', default: false },
    seed: { type: 'string' },
    soak: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
// With an exit of its own, so that what was started ends too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

if (values.help) {
  process.stdout.write(USAGE);
} else {
  const chosen = choose(values.only?.split(','));
  const random = new Random(
    values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed),
  );
  console.log(`seed ${random.seed}`);
  const results: FaultResult[] = [];
  const impossible = chosen.filter((fault) => !isPossible(fault));
  const possible = chosen.filter((fault) => !impossible.includes(fault));
  for (const fault of inTurn(possible, random, values.soak)) {
    const length: Length = values.short || values.soak !== undefined ? 'short' : 'full';
    const result = await runFault(fault, length, Math.floor(random.fraction() * 2 ** 32));
    results.push(result);
    print(result);
  }
  if (impossible.length > 0) console.log(`NOT RUN: ${impossible.map(({ name }) => name).join(', ')}`);
  console.log(JSON.stringify(summaryOf(results)));
  // Whoever asks for a fault by name is not content with none.
  const unheard = values.only !== undefined && impossible.length > 0;
  process.exitCode = unheard || results.some(({ problems }) => problems.length > 0) ? 1 : 0;
}

function choose(names: readonly string[] | undefined): readonly Fault[] {
  if (names === undefined) return faults;
  return names.map((name) => {
    const found = faults.find((fault) => fault.name === name);
    if (found === undefined) throw new Error(`there is no fault ${name}\n\n${USAGE}`);
    return found;
  });
}

/** Says why not, if it is not. */
function isPossible({ name, available }: Fault): boolean {
  const reason = available?.();
  if (reason !== undefined) console.log(`NOT RUN ${name}: ${reason}`);
  return reason === undefined;
}

/** Each once; or with a soak whichever chance picks, until the time is up. */
function* inTurn(chosen: readonly Fault[], random: Random, soak: string | undefined): Generator<Fault> {
  if (soak === undefined || chosen.length === 0) {
    yield* chosen;
    return;
  }
  const endMs = performance.now() + durationMs(soak);
  while (performance.now() < endMs) yield random.pick(chosen);
}

function durationMs(text: string): number {
  const [, amount, unit = ''] = /^(\d+)(s|m|h)$/.exec(text) ?? [];
  if (amount === undefined) throw new Error(`--soak takes a time as in 90s, 60m or 8h, not ${text}`);
  return Number(amount) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit as 's' | 'm' | 'h'];
}

function print(result: FaultResult): void {
  const { fault, seed, problems, slots, runs, writtenOff, lost, doubled, early, worstLatenessMs, figures } =
    result;
  const counts = `${slots} slots, ${runs} runs, ${writtenOff} without, ${lost} lost, ${doubled} doubled, ${early} early`;
  const own = Object.entries(figures).map(([name, value]) => `, ${name} ${value}`);
  const word = problems.length === 0 ? 'ok    ' : 'FAILED';
  console.log(
    `${word} ${fault} (seed ${seed}): ${counts}, worst lateness ${worstLatenessMs} ms${own.join('')}`,
  );
  for (const problem of problems) console.log(problem.replaceAll(/^/gm, '       '));
}

function summaryOf(results: readonly FaultResult[]): Record<string, number | null> {
  const sum = (key: 'slots' | 'runs' | 'lost' | 'doubled' | 'early'): number =>
    results.reduce((total, result) => total + result[key], 0);
  const gaps = results.flatMap(({ handoverGapsMs }) => handoverGapsMs).sort((a, b) => a - b);
  return {
    faults: results.length,
    slots: sum('slots'),
    runs: sum('runs'),
    lost: sum('lost'),
    doubled: sum('doubled'),
    early: sum('early'),
    worstLatenessMs: results.reduce((worst, { worstLatenessMs }) => Math.max(worst, worstLatenessMs), 0),
    handoverGapP99Ms: gaps[Math.max(0, Math.ceil(gaps.length * 0.99) - 1)] ?? null,
  };
}
