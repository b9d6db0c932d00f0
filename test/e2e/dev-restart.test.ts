import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { processIdentity } from '@carillon/cli/dev/process-identity.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createCarillonTransport } from '@carillon/server/client-transport.ts';
import { createClient } from '@connectrpc/connect';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { carillon, DevStack, devFolder } from '../support/dev-stack.ts';

const place = await devFolder();
const stacks: DevStack[] = [];
afterEach(async () => {
  for (const stack of stacks.splice(0)) await stack.stop();
});
afterAll(() => place.remove());

function start(options: readonly string[] = []): DevStack {
  const stack = new DevStack({ folder: place.folder, options });
  stacks.push(stack);
  return stack;
}

const TICK = 'name: e2e/dev/tick\nevery: 1s\ntask: command\ninputs: { command: [/bin/echo, tick] }\n';

/** The nominal times of the schedule's runs, in seconds, ascending. */
async function slotsOf(url: string): Promise<number[]> {
  const transport = createCarillonTransport({ baseUrl: url });
  try {
    const client = createClient(RunService, transport);
    const filter = 'schedule = "projects/e2e/domains/dev/schedules/tick"';
    const { runs } = await client.listRuns({ parent: 'projects/e2e/domains/dev', filter, pageSize: 1_000 });
    return runs.map(({ nominalTime }) => timestampMs(nominalTime!) / 1_000).sort((a, b) => a - b);
  } finally {
    transport.close();
  }
}

/** Waits until there is a run for every second from the first slot to the last. */
async function gapless(stack: DevStack, url: string): Promise<readonly number[]> {
  for (;;) {
    const slots = await slotsOf(url);
    const first = slots[0] ?? Number.NaN;
    expect(new Set(slots).size, 'a slot has one run').toBe(slots.length);
    if (slots.length > 0 && slots.every((slot, index) => slot === first + index)) return slots;
    // Live slots go before the backlog, so holes are filled while new ones come.
    await nextTick(stack);
  }
}

/** Waits for a successful run of the schedule that fires after now. */
async function nextTick(stack: DevStack): Promise<void> {
  await stack.line(/ run +succeeded .* of e2e\/dev\/tick /, stack.lines.length);
}

// One story, in order: each part goes on where the one before ended.
describe('carillon dev on its own PostgreSQL', () => {
  it('comes up in a new folder with its examples, and says where everything is to its owner only', async () => {
    const stack = start();
    const state = await stack.ready();
    expect(stack.lines.join('\n')).toMatch(/examples +examples\/schedules\.yaml: 1\d created/);
    expect((await stat(`${place.folder}/dev.json`)).mode & 0o777).toBe(0o600);
    expect(state).toMatchObject({ running: true, pid: stack.pid });
    expect(state.processes.map(({ name }) => name).sort()).toEqual(
      ['postgres', 'runs', 'schedules', 'scheduler', 'worker'].sort(),
    );
    await stack.line(/ run +succeeded .* of demo\/development\/heartbeat /);

    const applied = await carillon(place.parent, ['schedules', 'apply', '-f', '-'], { input: TICK });
    expect(applied).toMatchObject({ code: 0, stdout: expect.stringContaining('1 created') });
    await nextTick(stack);
  });

  it('goes on after Ctrl-C, at the same addresses, with what it had', async () => {
    const first = start();
    const before = await first.ready();
    const pids = before.processes.map(({ pid }) => pid);
    const from = (await slotsOf(before.urls.runs)).length;
    expect(await first.stop()).toEqual({ code: 0, signal: null });
    for (const pid of pids) expect(await processIdentity(pid)).toBeUndefined();
    expect(await first.state()).toMatchObject({ running: false, pid: 0, processes: [], urls: before.urls });
    expect(await carillon(place.parent, ['schedules', 'list'])).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('was stopped'),
    });

    const second = start();
    const after = await second.ready();
    expect(after.urls).toEqual(before.urls);
    expect(second.lines.join('\n')).toMatch(/examples\/schedules\.yaml: 1\d unchanged/);
    await nextTick(second);
    expect((await gapless(second, after.urls.runs)).length).toBeGreaterThan(from);
  });

  it('keeps a second one out', async () => {
    const stack = start(['--no-examples']);
    await stack.ready();
    const second = new DevStack({ folder: place.folder });
    expect(await second.exited).toEqual({ code: 4, signal: null });
    expect(second.lines.join('\n')).toContain(`"carillon dev" runs here already (process ${stack.pid})`);
  });

  it.each(['scheduler', 'runs', 'schedules', 'worker', 'postgres'])(
    'starts %s again when it is killed',
    async (name) => {
      const stack = start(['--no-examples']);
      const { urls } = await stack.ready();
      await nextTick(stack);
      const from = stack.lines.length;
      process.kill(await stack.pidOf(name), 'SIGKILL');
      await stack.line(new RegExp(` ${name} +ended by SIGKILL, starting again`), from);
      await stack.line(new RegExp(` ${name} +ready, restarted once`), from);
      await nextTick(stack);
      await gapless(stack, urls.runs);
    },
  );

  it('goes on after a kill of everything, and catches up', async () => {
    const first = start(['--no-examples']);
    const before = await first.ready();
    await nextTick(first);
    await first.killAll();
    expect((await first.state()).running).toBe(true);
    expect(await carillon(place.parent, ['schedules', 'list'])).toMatchObject({ code: 5 });

    const second = start(['--no-examples']);
    const after = await second.ready();
    expect(after.urls).toEqual(before.urls);
    await nextTick(second);
    await gapless(second, after.urls.runs);
  });

  it('leaves nothing behind when it alone is killed, and the next start clears the rest', async () => {
    const first = start(['--no-examples']);
    const { processes } = await first.ready();
    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    const second = start(['--no-examples']);
    await second.ready();
    for (const { name, pid, identity } of processes) {
      expect(await processIdentity(pid), `${name} of the start before`).not.toBe(identity);
    }
    await nextTick(second);
    await gapless(second, (await second.state()).urls.runs);
  });

  it('takes another port where its own is taken', async () => {
    const first = start(['--no-examples']);
    const { urls } = await first.ready();
    await first.stop();
    const squatter = createServer();
    await new Promise<void>((resolve) =>
      squatter.listen(Number(new URL(urls.runs).port), '127.0.0.1', resolve),
    );
    try {
      const second = start(['--no-examples']);
      const after = await second.ready();
      expect(after.urls.schedules).toBe(urls.schedules);
      expect(after.urls.runs).not.toBe(urls.runs);
      await nextTick(second);
      await second.stop();
    } finally {
      squatter.close();
    }
  });
});
