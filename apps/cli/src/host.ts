import type { Clock, Entropy } from '@carillon/core/clock.ts';
import type { Transport } from '@connectrpc/connect';

/** Where a command writes. */
export interface Output {
  write(text: string): void;
  /** True when a person looks at it. */
  readonly isTerminal: boolean;
  /** Its width and height in characters, read anew each time; 80 × 24 when it has none. */
  readonly size: { readonly columns: number; readonly rows: number };
  /** Calls back whenever the size changed, until the returned function is called. */
  onResize(callback: () => void): () => void;
}

/** A keyboard. */
export interface Keyboard {
  /**
   * Calls back with each key until the returned function is called. Meanwhile keys are not echoed, and Ctrl-C is a key
   * like any other (`\u0003`).
   */
  listen(onKey: (key: string) => void): () => void;
}

/** Everything a command takes from the machine it runs on. `main.ts` builds the real one, tests their own. */
export interface Host {
  readonly stdout: Output;
  readonly stderr: Output;
  /** Standard input, piece by piece, as text. */
  readonly stdin: AsyncIterable<string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** The IANA zone in which local times are shown. */
  readonly timeZone: string;
  /** Aborts at Ctrl-C (SIGINT), SIGTERM or SIGHUP; the reason is the signal's name. */
  readonly interrupted: AbortSignal;
  /** Aborts at the next such signal after that, when somebody is in a hurry. */
  readonly interruptedAgain: AbortSignal;
  /** Keys as they are pressed; undefined without a terminal to press them in. */
  readonly keyboard: Keyboard | undefined;
  /** This process's id, and the path of the Node that runs it. */
  readonly pid: number;
  readonly nodePath: string;
  /** Sends a signal to a process, or with a negative id to its group; false if there is none. 0 only asks. */
  kill(pid: number, signal: NodeJS.Signals | 0): boolean;
  /** Opens a way to the server at that URL. Nothing is sent before the first call. */
  connect(baseUrl: string): Transport;
}
