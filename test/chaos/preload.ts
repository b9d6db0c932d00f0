// Loaded into a service by `--import`. SIGUSR2 makes it read a file named in CHAOS_ORDER, and do what it says:
// `block MS` blocks the event loop, `step MS` sets the wall clock as JavaScript sees it on or back from where it is.
import { readFileSync } from 'node:fs';

const order = process.env.CHAOS_ORDER;
if (order === undefined) throw new Error('CHAOS_ORDER names the file to read orders from');

const SystemDate = Date;
let stepMs = 0;

class SteppedDate extends SystemDate {
  constructor(...args: unknown[]) {
    if (args.length === 0) super(SystemDate.now() + stepMs);
    else super(...(args as [number]));
  }

  static override now(): number {
    return SystemDate.now() + stepMs;
  }
}
globalThis.Date = SteppedDate as DateConstructor;

process.on('SIGUSR2', () => {
  const [word, amount] = readFileSync(order, 'utf8').trim().split(' ');
  if (word === 'step') stepMs += Number(amount);
  else if (word === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(amount));
  else throw new Error(`an order that nobody knows: ${word}`);
});
