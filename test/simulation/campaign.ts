import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

/** What a row of histories came to; what `npm run simulate` prints last. */
export interface Report {
  readonly histories: number;
  readonly slots: number;
  readonly failures: number;
  readonly perSecond: number;
}

/** Which histories to live. */
export interface Campaign {
  readonly seed: string;
  /** How many at most. */
  readonly histories: number;
  /** Default: no limit. */
  readonly limitMs?: number;
  /** Told the seed of each history that fails, and the rules that it broke. */
  readonly onFailure: (seed: string, violations: readonly string[]) => void;
  /** Ends at this many failures, or soon after. Default: 10. */
  readonly mostFailures?: number;
  /** How many threads live them. Default: as many as run at once here. */
  readonly threads?: number;
  /** A deliberate bug to live them with; see `bugs.ts`. Default: none. */
  readonly bug?: string | undefined;
}

/** A history that broke rules. */
export interface Failure {
  readonly seed: string;
  readonly violations: readonly string[];
}

/** What a thread has lived. */
export interface Lived {
  readonly histories: number;
  readonly slots: number;
  readonly failures: readonly Failure[];
}

/** What a thread is started with. */
export interface WorkerOrders {
  readonly bug: string | undefined;
}

/** How many histories a thread is given at one go. */
const AT_ONCE = 10;

/** The seed of one history of a campaign: by it alone it can be lived again. */
export function seedOf(seed: string, index: number): string {
  return `${seed}-${index}`;
}

/** Lives one history after another, on all processors. */
export async function campaign(options: Campaign): Promise<Report> {
  const { seed, histories, limitMs = Number.POSITIVE_INFINITY, onFailure, mostFailures = 10, bug } = options;
  const startedAtMs = performance.now();
  const elapsedMs = (): number => performance.now() - startedAtMs;
  const total = { histories: 0, slots: 0, failures: 0 };
  let given = 0;
  const nextSeeds = (): string[] => {
    if (total.failures >= mostFailures || elapsedMs() >= limitMs) return [];
    const count = Math.min(AT_ONCE, histories - given);
    return Array.from({ length: count }, () => seedOf(seed, given++));
  };
  const threads = Math.min(options.threads ?? availableParallelism(), Math.ceil(histories / AT_ONCE));
  await Promise.all(
    Array.from({ length: threads }, () =>
      work({ bug }, nextSeeds, (lived) => {
        total.histories += lived.histories;
        total.slots += lived.slots;
        total.failures += lived.failures.length;
        for (const { seed: failing, violations } of lived.failures) onFailure(failing, violations);
      }),
    ),
  );
  return { ...total, perSecond: Math.round((total.histories / elapsedMs()) * 10_000) / 10 };
}

/** Keeps a thread busy for as long as there are seeds. Rejects if the thread fails. */
function work(
  orders: WorkerOrders,
  nextSeeds: () => readonly string[],
  onLived: (lived: Lived) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./campaign-worker.ts', import.meta.url), { workerData: orders });
    const goOn = (): void => {
      const seeds = nextSeeds();
      if (seeds.length > 0) worker.postMessage(seeds);
      else void worker.terminate();
    };
    worker.on('message', (lived: Lived) => {
      onLived(lived);
      goOn();
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve());
    goOn();
  });
}
