import { hashAssignment } from '@carillon/core/assignment.ts';
import type { Plan } from './plan.ts';
import { trial } from './trial.ts';

/** The most histories that are lived to make one smaller. */
const MOST_TRIALS = 400;

/** Takes parts of a failing plan away for as long as it still fails: changes, faults, crashes, replicas, what is wrong all the time. */
export async function shrink(failing: Plan): Promise<Plan> {
  let plan = failing;
  let left = MOST_TRIALS;
  const keepIfFailing = async (candidate: Plan): Promise<boolean> => {
    if (left-- <= 0) return false;
    const { violations } = await trial(candidate);
    if (violations.length === 0) return false;
    plan = candidate;
    return true;
  };
  const lists = ['changes', 'redrives', 'faults', 'crashes', 'verdicts'] as const;
  for (let before = Number.POSITIVE_INFINITY; sizeOf(plan) < before && left > 0; ) {
    before = sizeOf(plan);
    for (const list of lists) {
      for (
        let size = Math.ceil(plan[list].length / 2);
        size >= 1;
        size = size === 1 ? 0 : Math.ceil(size / 2)
      ) {
        for (let first = 0; first < plan[list].length; ) {
          const rest = (plan[list] as readonly unknown[]).toSpliced(first, size);
          if (!(await keepIfFailing({ ...plan, [list]: rest }))) first += size;
        }
      }
    }
    for (const settings of calmer(plan))
      await keepIfFailing({ ...plan, settings: { ...plan.settings, ...settings } });
    for (let index = plan.shardings.length - 1; index > 0; index--)
      await keepIfFailing({ ...plan, shardings: plan.shardings.toSpliced(index, 1) });
    const [first, ...others] = plan.shardings;
    if (first && first.assignment.shards.length > 1)
      await keepIfFailing({
        ...plan,
        shardings: [{ ...first, assignment: hashAssignment(1, 1) }, ...others],
      });
    while (plan.replicas.length > 1 && (await keepIfFailing(withFewerReplicas(plan))));
    if (plan.replicas.some(({ drift, wallOffsetMs }) => drift !== 0 || wallOffsetMs !== 0)) {
      const replicas = plan.replicas.map((replica) => ({ ...replica, drift: 0, wallOffsetMs: 0 }));
      await keepIfFailing({ ...plan, replicas });
    }
  }
  return plan;
}

/** What there is to take away. */
function sizeOf(plan: Plan): number {
  const { changes, redrives, faults, crashes, verdicts, replicas, shardings, settings } = plan;
  const rates = [
    settings.spikes,
    settings.lateCommits,
    settings.lostAnswers,
    settings.duplicates,
    settings.lostHints,
  ];
  return (
    changes.length +
    redrives.length +
    faults.length +
    crashes.length +
    verdicts.length +
    replicas.length +
    shardings.length +
    rates.filter((rate) => rate > 0).length
  );
}

function calmer({ settings }: Plan): Partial<Plan['settings']>[] {
  const steps: Partial<Plan['settings']>[] = [];
  for (const rate of [
    'spikes',
    'lateCommits',
    'lostAnswers',
    'slowCalls',
    'duplicates',
    'lostHints',
  ] as const) {
    if (settings[rate] > 0) steps.push({ [rate]: 0 });
  }
  return steps;
}

function withFewerReplicas(plan: Plan): Plan {
  const replicas = plan.replicas.slice(0, -1);
  const exists = ({ replica }: { readonly replica: number }): boolean => replica < replicas.length;
  return {
    ...plan,
    replicas,
    faults: plan.faults.filter(exists),
    crashes: plan.crashes.filter(exists),
    // What all are configured with in the beginning stays.
    shardings: plan.shardings.filter((sharding, index) => index === 0 || exists(sharding)),
  };
}
