import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const postgres = ['./test/support/postgres-setup.ts'];

/** Which tests there are, and what each kind needs: `vitest run --project unit`, or a part of a file's path. */
export default defineConfig({
  test: {
    // Each file in a process of its own: some change signals, environment or the heap.
    pool: 'forks',
    // Most tests wait for something else than the processor. Beyond eight it is the connections to PostgreSQL that run out.
    maxWorkers: Math.min(8, Math.max(3, availableParallelism())),
    // Limits are for what hangs: a machine that is busy with something else only takes longer.
    expect: { poll: { timeout: 20_000 } },
    projects: [
      {
        extends: true,
        test: { name: 'core', include: ['libs/{core,gen}/src/**/*.test.ts'], testTimeout: 60_000 },
      },
      {
        extends: true,
        test: {
          name: 'unit',
          include: [
            'libs/!(core|gen)/src/**/*.test.ts',
            '{services,apps}/*/src/**/*.test.ts',
            'tools/**/*.test.mjs',
          ],
          globalSetup: postgres,
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: { name: 'simulation', include: ['test/simulation/**/*.test.ts'], testTimeout: 120_000 },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts', 'test/support/**/*.test.ts'],
          globalSetup: postgres,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: postgres,
          // They start whole systems, at the same ports, and measure: not beside one another.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
