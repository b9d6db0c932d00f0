import { createCarillonTransport } from '@carillon/server/client-transport.ts';
import { systemClock, systemEntropy } from '@carillon/server/system-clock.ts';
import type { Host, Output } from './host.ts';
import { runProgram } from './program.ts';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** npm and a terminal may both pass the same Ctrl-C on: what follows this closely is not a second one. */
const ECHO_MS = 1_000;

const first = new AbortController();
const second = new AbortController();
let interruptedAt = 0;
for (const name of SIGNALS) {
  process.on(name, () => {
    if (!first.signal.aborted) {
      interruptedAt = systemClock.monotonic();
      first.abort(name);
    } else if (systemClock.monotonic() - interruptedAt > ECHO_MS) second.abort(name);
  });
}

/** Wraps a stream; once nobody reads it any more, what is written is dropped. */
function outputTo(stream: NodeJS.WriteStream): Output {
  let closed = false;
  stream.on('error', () => {
    closed = true;
    first.abort('EPIPE');
  });
  return {
    write: (text) => {
      if (!closed) stream.write(text);
    },
    isTerminal: stream.isTTY === true,
    get size() {
      return { columns: stream.columns || 80, rows: stream.rows || 24 };
    },
    onResize: (callback) => {
      stream.on('resize', callback);
      return () => stream.off('resize', callback);
    },
  };
}

const closers: (() => void)[] = [];
const host: Host = {
  stdout: outputTo(process.stdout),
  stderr: outputTo(process.stderr),
  stdin: {
    [Symbol.asyncIterator]: () => {
      process.stdin.setEncoding('utf8');
      return process.stdin[Symbol.asyncIterator]() as AsyncIterator<string>;
    },
  },
  environment: process.env,
  workingDirectory: process.cwd(),
  clock: systemClock,
  entropy: systemEntropy,
  timeZone: new Intl.DateTimeFormat().resolvedOptions().timeZone,
  interrupted: first.signal,
  interruptedAgain: second.signal,
  keyboard: process.stdin.isTTY
    ? {
        listen: (onKey) => {
          const listener = (chunk: string | Buffer): void => onKey(String(chunk));
          process.stdin.setRawMode(true).on('data', listener).resume();
          return () => {
            process.stdin.off('data', listener).pause().setRawMode(false);
          };
        },
      }
    : undefined,
  pid: process.pid,
  nodePath: process.execPath,
  kill: (pid, signal) => {
    try {
      return process.kill(pid, signal);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
      throw error;
    }
  },
  connect: (baseUrl) => {
    const transport = createCarillonTransport({ baseUrl });
    closers.push(() => transport.close());
    return transport;
  },
};

process.exitCode = await runProgram(host, process.argv.slice(2));
for (const close of closers) close();
