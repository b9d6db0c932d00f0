import { judge } from './checker.ts';
import { type History, live } from './history.ts';
import type { Plan } from './plan.ts';

/** A plan, what happened, and what is wrong with it. */
export interface Trial {
  readonly history: History;
  readonly slots: number;
  readonly violations: readonly string[];
}

/** Lets a plan happen and judges what came of it. An exception is a violation too. */
export async function trial(plan: Plan, tell = false): Promise<Trial> {
  const history = await live(plan, tell);
  return { history, ...judge(history) };
}
