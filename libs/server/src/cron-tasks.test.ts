import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CronTasks } from './cron-tasks.ts';
import { systemClock } from './system-clock.ts';

const START = Date.parse('2026-01-01T00:00:10Z');
const DAY_MS = 86_400_000;

let calls = 0;
let tasks: CronTasks;

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  calls = 0;
  const work = async (): Promise<void> => {
    calls++;
  };
  tasks = new CronTasks(systemClock, [{ name: 'count', expression: '0 * * * * *', work }]);
  tasks.start();
});

afterEach(async () => {
  const stopped = tasks.stop();
  await vi.runAllTimersAsync();
  await stopped;
  vi.useRealTimers();
});

test('tasks run at their times', async () => {
  await vi.advanceTimersByTimeAsync(180_000);

  expect(calls).toBe(3);
});

test('a clock that is set back does not silence them until it has caught up', async () => {
  vi.setSystemTime(START - DAY_MS);
  await vi.advanceTimersByTimeAsync(180_000);

  expect(calls).toBe(3);
});

test('a clock that is set on by years does not have them visit all the times in between', async () => {
  vi.setSystemTime(START + 1_000 * DAY_MS);
  await vi.advanceTimersByTimeAsync(180_000);

  expect(calls).toBe(3);
});

test('after the stop nothing runs', async () => {
  await vi.advanceTimersByTimeAsync(60_000);
  const stopped = tasks.stop();
  await vi.advanceTimersByTimeAsync(180_000);
  await stopped;

  expect(calls).toBe(1);
});
