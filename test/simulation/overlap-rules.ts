import type { KeyEvent, SimOutcome } from './sim-keys.ts';

/** The runs of one concurrency key, as far as its events have been read. */
class Key {
  /** By name, their nominal times. */
  readonly going = new Map<string, number>();
  readonly buffered = new Map<string, number>();
}

/**
 * What is wrong with the decisions on runs with concurrency keys, judged by what each policy promises and by nothing else: the events of a key,
 * in their order.
 */
export function overlapViolations(events: readonly KeyEvent[]): string[] {
  const keys = new Map<string, Key>();
  const violations: string[] = [];
  // Whoever stops others does so before it is placed.
  let stopped: KeyEvent['run'][] = [];
  for (const { kind, run } of events) {
    const key = keys.get(run.key) ?? new Key();
    keys.set(run.key, key);
    const against = (what: string): void => {
      violations.push(`the run ${run.nominal} of ${run.key} (${run.policy} ${run.limit}) ${what}`);
    };
    switch (kind) {
      case 'STOPPED':
        stopped.push(run);
        break;
      case 'ENDED':
        key.going.delete(run.name);
        key.buffered.delete(run.name);
        break;
      case 'WENT':
        if (key.buffered.get(run.name) !== Math.min(...key.buffered.values()))
          against('went before one that was buffered for an earlier time');
        if (key.going.size >= run.limit) against(`went beside ${key.going.size} others`);
        key.buffered.delete(run.name);
        key.going.set(run.name, run.nominal);
        break;
      default:
        for (const other of stopped) {
          if (other.nominal >= run.nominal) against(`stopped the run ${other.nominal}, which is not earlier`);
        }
        if (stopped.length > 0 && !run.policy.endsWith('_OTHER')) against('stopped others');
        stopped = [];
        for (const objection of objectionsTo(kind, run, key)) against(objection);
        if (kind === 'STARTED') key.going.set(run.name, run.nominal);
        if (kind === 'BUFFERED') key.buffered.set(run.name, run.nominal);
    }
  }
  return violations;
}

function* objectionsTo(
  outcome: SimOutcome,
  { policy, limit, nominal }: KeyEvent['run'],
  { going, buffered }: Key,
): Generator<string> {
  const isFull = limit > 0 && going.size >= limit;
  if (outcome === 'STARTED' && isFull) yield `was started beside ${going.size} others`;
  if (outcome === 'BUFFERED' && (policy === 'ALLOW' || policy === 'SKIP')) yield 'was buffered';
  if (outcome === 'BUFFERED' && !isFull && buffered.size === 0) yield 'was buffered for nothing';
  if (outcome !== 'SKIPPED') {
    if (policy === 'BUFFER_ONE' && buffered.size > 0) yield 'was not skipped, although one is buffered';
    return;
  }
  switch (policy) {
    case 'ALLOW':
    case 'SKIP':
      if (!isFull) yield 'was skipped for nothing';
      break;
    case 'BUFFER_ONE':
      if (buffered.size === 0) yield 'was skipped, and nothing was buffered';
      break;
    case 'BUFFER_ALL':
      yield 'was skipped';
      break;
    default: {
      const notEarlier = [...going.values(), ...buffered.values()].filter((other) => other >= nominal);
      if (notEarlier.length < limit) yield 'was skipped in favour of earlier ones';
    }
  }
}
