import type { DevState } from '@carillon/cli';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DevStack, devFolder } from '../support/dev-stack.ts';
import { useDatabase } from '../support/postgres.ts';
import { generatePythonClient, hasPython } from '../support/python-client.ts';

// On Debian, python3-venv has what it needs.
describe.runIf(hasPython())('a client generated for Python', () => {
  const database = useDatabase();
  let place: Awaited<ReturnType<typeof devFolder>>;
  let stack: DevStack;
  let urls: DevState['urls'];

  beforeAll(async () => {
    place = await devFolder();
    stack = new DevStack({ folder: place.folder, databaseUrl: database.url, options: ['--no-examples'] });
    ({ urls } = await stack.ready());
  });
  afterAll(async () => {
    await stack.stop();
    await place.remove();
  });

  it('creates a schedule over gRPC, which fires', async () => {
    const client = await generatePythonClient();
    const parent = 'projects/python/domains/client';
    const output = await client.run('create_schedule.py', [new URL(urls.schedules).host, parent, 'tick']);
    expect(JSON.parse(output)).toMatchObject({
      created: {
        name: `${parent}/schedules/tick`,
        state: 'SCHEDULE_STATE_ACTIVE',
        revision: 1,
        etag: '1',
        spec: { rate: { interval: '1s' }, run: { task: 'command' } },
      },
      refused: { code: 'INVALID_ARGUMENT', violations: ['schedule.spec.rate.interval'] },
      listed: [`${parent}/schedules/tick`],
    });
    await stack.line(/ run +succeeded .* of python\/client\/tick /);
  });
});
