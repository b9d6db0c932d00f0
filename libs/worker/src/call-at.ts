import { type Clock, MAX_TIMER_MS, type Timer } from '@carillon/core/clock.ts';

/** Calls `callback` once the monotonic clock has reached `due`, however far away that is. */
export function callAt(clock: Clock, due: number, callback: () => void): Timer {
  let timer = arm();
  return { cancel: () => timer.cancel() };

  function arm(): Timer {
    const left = due - clock.monotonic();
    return left > MAX_TIMER_MS
      ? clock.after(MAX_TIMER_MS, () => {
          timer = arm();
        })
      : clock.after(Math.max(0, left), callback);
  }
}
