import { setTimeout as delay } from 'node:timers/promises';

/** For time that must really pass: what a test shows is that nothing happens in it. */
export const sleep = (ms: number): Promise<void> => delay(ms);

/** Asks until the answer is truthy, and returns it. */
export async function until<T>(
  ask: () => T | Promise<T>,
  limitMs = 30_000,
): Promise<Exclude<T, false | undefined | null>> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer as Exclude<T, false | undefined | null>;
    if (performance.now() > endMs) throw new Error(`not so within ${limitMs} ms: ${ask.toString()}`);
    await delay(20);
  }
}
