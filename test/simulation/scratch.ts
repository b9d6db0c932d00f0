import { judge } from './checker.ts';
import { live } from './history.ts';
import { planOf } from './plan.ts';

const plan = planOf(process.argv[2]!);
console.log(JSON.stringify({ ...plan, changes: plan.changes.length }, null, 1));
const history = await live(plan, true);
console.log(history.story.join('\n'));
console.log(judge(history).violations.slice(0, 10));
console.log(history.happened);
