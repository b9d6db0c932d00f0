import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@carillon/server/system-clock.ts';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type DevState, findDevState, readDevState, writeDevState } from './dev-file.ts';
import { acquireDevLock } from './dev-lock.ts';
import { DevRecord } from './dev-record.ts';
import { endOrphans } from './orphans.ts';
import { processIdentity } from './process-identity.ts';
import { type ProcessDefinition, type ProcessState, SupervisedProcess } from './supervised-process.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-cli-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const host = {
  clock: systemClock,
  nodePath: process.execPath,
  kill: (pid: number, signal: NodeJS.Signals | 0) => process.kill(pid, signal),
};

/** A process in a group of its own that runs until it is ended; answers when it is up. */
async function sleeper(
  script = 'setInterval(() => undefined, 1000)',
): Promise<{ child: ChildProcess; pid: number }> {
  const child = spawn(process.execPath, ['-e', `${script}; console.log('up')`], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  if (child.pid === undefined) throw new Error('not started');
  return { child, pid: child.pid };
}

function exitOf(child: ChildProcess): Promise<NodeJS.Signals | number | null> {
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
}

const STATE: DevState = {
  version: 1,
  running: true,
  pid: 7,
  urls: { schedules: 'http://127.0.0.1:1', scheduler: 'http://127.0.0.1:2', runs: 'http://127.0.0.1:3' },
  databaseUrl: 'postgres://carillon:secret@127.0.0.1:4/carillon',
  dataDirectory: '/data',
  logDirectory: '/logs',
  processes: [{ name: 'runs', pid: 8, identity: 'x' }],
};

describe('the identity of a process', () => {
  it('is its own, and gone when it is gone', async () => {
    const { child, pid } = await sleeper();
    const identity = await processIdentity(pid);
    expect(identity).toBeDefined();
    expect(await processIdentity(pid)).toBe(identity);
    expect(await processIdentity(process.pid)).not.toBe(identity);
    const exit = exitOf(child);
    child.kill('SIGKILL');
    await exit;
    expect(await processIdentity(pid)).toBeUndefined();
  });
});

describe('dev.json', () => {
  it('is written whole, for its owner only, and found from below', async () => {
    const path = join(folder, '.carillon', 'dev.json');
    await writeDevState(path, STATE);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readDevState(path)).toEqual(STATE);
    expect(await readdir(join(folder, '.carillon'))).toEqual(['dev.json']);
    expect(await findDevState(join(folder, 'some', 'where', 'below'))).toEqual({ path, state: STATE });
  });

  it.each(['', '{', '[]', '{"version":2}', '{"version":1,"urls":{}}', '{"version":1,"urls":{"runs":1}}'])(
    'is none of ours: %j',
    async (text) => {
      const path = join(folder, 'dev.json');
      await writeFile(path, text);
      expect(await readDevState(path)).toBeUndefined();
    },
  );

  it('says what was said last, however quickly', async () => {
    const path = join(folder, 'dev.json');
    const record = new DevRecord(path, { ...STATE, running: false, processes: [] });
    for (const pid of [1, 2, 3]) record.processStarted({ name: 'runs', pid, identity: String(pid) });
    record.processStarted({ name: 'worker', pid: 4, identity: '4' });
    record.update({ running: true });
    await record.saved();
    expect(await readDevState(path)).toEqual({
      ...STATE,
      processes: [
        { name: 'runs', pid: 3, identity: '3' },
        { name: 'worker', pid: 4, identity: '4' },
      ],
    });
    record.stopped();
    await record.saved();
    expect(await readDevState(path)).toEqual({ ...STATE, running: false, pid: 0, processes: [] });
  });

  it('fails aloud when it cannot be written', async () => {
    const path = join(folder, 'file', 'dev.json');
    await writeFile(join(folder, 'file'), '');
    const record = new DevRecord(path, STATE);
    record.update({});
    await expect(record.saved()).rejects.toThrow();
  });
});

describe('the lock of a checkout', () => {
  it('keeps a second one out while the first lives, and no longer', async () => {
    const path = join(folder, '.carillon', 'dev.lock');
    const first = await sleeper();
    await acquireDevLock(path, first.pid);
    await expect(acquireDevLock(path, process.pid)).rejects.toThrow(
      `runs here already (process ${first.pid})`,
    );
    const exit = exitOf(first.child);
    first.child.kill('SIGKILL');
    await exit;
    const lock = await acquireDevLock(path, process.pid);
    await lock.release();
    await (await acquireDevLock(path, process.pid)).release();
    expect(await readdir(join(folder, '.carillon'))).toHaveLength(1);
  });

  it('goes to one of many that find a stale one', async () => {
    const path = join(folder, 'dev.lock');
    const contenders = await Promise.all(Array.from({ length: 8 }, () => sleeper()));
    for (let round = 0; round < 20; round += 1) {
      const stale = await acquireDevLock(path, process.pid);
      await stale.release();
      const outcomes = await Promise.allSettled(contenders.map(({ pid }) => acquireDevLock(path, pid)));
      const winners = outcomes.filter((outcome) => outcome.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      await winners[0]?.value.release();
    }
  });

  it('is taken over when it was cut off', async () => {
    const path = join(folder, 'dev.lock');
    await writeFile(`${path}.7`, '{"pid":');
    await acquireDevLock(path, process.pid);
    expect(await readdir(folder)).toEqual(['dev.lock.8']);
  });
});

describe('orphans', () => {
  it('are ended if they are ours, and left alone if they only have the same id', async () => {
    const ours = await sleeper();
    const foreign = await sleeper();
    const identity = (await processIdentity(ours.pid)) ?? '';
    const exit = exitOf(ours.child);
    const lines: string[] = [];
    await endOrphans(
      host,
      [
        { name: 'runs', pid: ours.pid, identity },
        { name: 'worker', pid: foreign.pid, identity },
        { name: 'schedules', pid: 2 ** 22 + 1, identity },
      ],
      (line) => lines.push(line),
    );
    expect(await exit).toBe('SIGTERM');
    expect(await processIdentity(foreign.pid)).toBeDefined();
    expect(lines).toEqual([`ending runs (process ${ours.pid}), which an earlier start left behind`]);
  });
});

/** A supervised process that runs a script; its states are awaited one by one. */
function supervise(script: string, probe: ProcessDefinition['probe'] = async () => undefined) {
  const states: ProcessState[] = [];
  const complaints: string[] = [];
  const pids: number[] = [];
  let wake = (): void => undefined;
  const supervised = new SupervisedProcess(
    { name: 'thing', entry: join(folder, 'thing.mjs'), environment: {}, probe },
    host,
    join(folder, 'logs'),
    {
      onState: (state) => {
        states.push(state);
        wake();
      },
      onComplaint: (line) => {
        complaints.push(line);
        wake();
      },
      onSpawn: (pid) => {
        pids.push(pid);
        wake();
      },
    },
  );
  onTestFinished(() => supervised.kill());
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise<void>((resolve) => (wake = resolve));
  };
  const kinds = (): string[] => states.map(({ kind }) => kind);
  return {
    supervised,
    states,
    complaints,
    pids,
    until,
    kinds,
    written: writeFile(join(folder, 'thing.mjs'), script),
  };
}

describe('a supervised process', () => {
  it('is started again when it dies, and ended when told so', async () => {
    const it = supervise('setInterval(() => undefined, 1000)');
    await it.written;
    it.supervised.start();
    await it.until(() => it.pids.length === 1 && it.kinds().includes('ready'));
    host.kill(it.pids[0] ?? 0, 'SIGKILL');
    await it.until(() => it.pids.length === 2 && it.kinds().at(-1) === 'ready');
    expect(it.kinds()).toEqual(['starting', 'ready', 'waiting', 'starting', 'ready']);
    expect(it.states[2]).toMatchObject({ exit: 'ended by SIGKILL' });
    await it.supervised.stop(5_000);
    expect(it.kinds().slice(-2)).toEqual(['stopping', 'stopped']);
    expect(await processIdentity(it.pids[1] ?? 0)).toBeUndefined();
  });

  it('waits longer after each failure, and says what it complained of', async () => {
    const it = supervise(`
      console.log(JSON.stringify({ level: 'info', msg: 'fine' }));
      console.log(JSON.stringify({ level: 'fatal', msg: 'start failed', err: { message: 'no database' } }));
      console.error('a warning');
      console.error('TypeError: that is why');
      process.exit(3);
    `);
    await it.written;
    const startedAt = systemClock.monotonic();
    it.supervised.start();
    await it.until(() => it.kinds().filter((kind) => kind === 'waiting').length === 3);
    const waits = it.states.filter((state) => state.kind === 'waiting');
    expect(waits.map(({ exit }) => exit)).toEqual(Array(3).fill('exited with 3'));
    // 250 ms and 500 ms have passed, and 1000 ms lie ahead.
    expect(systemClock.monotonic() - startedAt).toBeGreaterThan(750);
    expect(waits[2]!.restartAt - systemClock.monotonic()).toBeGreaterThan(500);
    await it.supervised.stop(1_000);
    expect(it.complaints.slice(0, 2)).toEqual(['start failed: no database', 'TypeError: that is why']);
    expect(await readFile(join(folder, 'logs', 'thing.log'), 'utf8')).toContain('"msg":"fine"');
  });

  it('is killed with what it started when it does not end in time', async () => {
    const it = supervise(`
      import { spawn } from 'node:child_process';
      process.on('SIGTERM', () => undefined);
      const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => 0); setInterval(() => 0, 1000)']);
      console.log(JSON.stringify({ level: 'error', msg: child.pid }));
      setInterval(() => undefined, 1000);
    `);
    await it.written;
    it.supervised.start();
    await it.until(() => it.complaints.length > 0);
    await it.supervised.stop(200);
    const grandchild = Number(it.complaints[0]);
    while ((await processIdentity(grandchild)) !== undefined)
      await new Promise((resolve) => setImmediate(resolve));
    expect(it.kinds().at(-1)).toBe('stopped');
  });

  it('is unready when its probe says why, and ready again when it does not', async () => {
    let reason: string | undefined = 'not yet';
    const it = supervise('setInterval(() => undefined, 1000)', async () => reason);
    await it.written;
    it.supervised.start();
    await it.until(() => it.pids.length === 1);
    reason = undefined;
    await it.until(() => it.kinds().includes('ready'));
    reason = 'database: away';
    await it.until(() => it.kinds().includes('unready'));
    reason = undefined;
    await it.until(() => it.kinds().filter((kind) => kind === 'ready').length === 2);
    expect(it.states).toMatchObject([
      { kind: 'starting' },
      { kind: 'ready' },
      { kind: 'unready', reason: 'database: away' },
      { kind: 'ready' },
    ]);
    await it.supervised.stop(5_000);
  });

  it('is ready when its log says that it has begun, if nobody can ask it', async () => {
    const it = supervise(
      `console.log(JSON.stringify({ level: 'error', msg: 'not yet' }));
       setTimeout(() => console.log(JSON.stringify({ level: 'info', msg: 'working' })), 300);
       setInterval(() => undefined, 1000);`,
      'working',
    );
    await it.written;
    it.supervised.start();
    await it.until(() => it.complaints.length > 0);
    expect(it.kinds()).toEqual(['starting']);
    await it.until(() => it.kinds().includes('ready'));
    await it.supervised.stop(5_000);
  });

  it('ends by itself when its parent is gone', async () => {
    await writeFile(
      join(folder, 'thing.mjs'),
      `process.on('SIGTERM', () => { console.log('told to end'); process.exit(7); });
       console.log('up');
       setInterval(() => undefined, 1000);`,
    );
    const watch = new URL('./parent-watch.ts', import.meta.url).href;
    const child = spawn(process.execPath, ['--import', watch, join(folder, 'thing.mjs')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += String(chunk);
    });
    const exit = exitOf(child);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    // What the kernel does with a parent's end of the pipe when the parent is killed.
    child.stdin.destroy();
    expect(await exit).toBe(7);
    expect(output).toBe('up\ntold to end\n');
  });
});
