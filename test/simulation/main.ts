import { judge } from './checker.ts';
import { live } from './history.ts';
import { planOf } from './plan.ts';

const n = Number(process.argv[2] ?? 100);
const base = process.argv[3] ?? 'x';
let slots = 0;
let failures = 0;
let happened = 0;
const started = performance.now();
for (let i = 0; i < n; i++) {
  const seed = `${base}-${i}`;
  const history = await live(planOf(seed), process.argv[4] === 'tell');
  const judgement = judge(history);
  slots += judgement.slots;
  happened += history.happened;
  if (process.argv[4] === 'tell') console.log(history.story.join('\n'));
  if (judgement.violations.length > 0) {
    failures++;
    console.log(seed, judgement.violations.slice(0, 3));
  }
}
const s = (performance.now() - started) / 1000;
console.log(JSON.stringify({ n, slots, failures, happened, perSecond: n / s }));
