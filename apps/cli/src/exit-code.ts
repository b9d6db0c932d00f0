/** What the command's exit code tells a script. Documented in the README; never renumbered. */
export const ExitCode = {
  /** All went well. */
  ok: 0,
  /** Something failed that no other code describes; also: a watched run did not succeed. */
  failed: 1,
  /** The command line, the file or the request can never succeed as it is. */
  usage: 2,
  /** What was named does not exist. */
  notFound: 3,
  /** It exists already, has changed meanwhile, or its state forbids it. */
  conflict: 4,
  /** The server could not be reached, or did not answer in time: try again. */
  unavailable: 5,
  /** The server knows the caller and says no, or does not know the caller. */
  denied: 6,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;

/** One of {@link ExitCode}. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A failure that the command explains itself: printed without a stack. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: ExitCode;
  /** Further lines below the message: what to do, or where exactly. */
  readonly details: readonly string[];

  constructor(exitCode: ExitCode, message: string, details: readonly string[] = [], options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
    this.details = details;
  }
}

/** A command line or file that can never succeed as it is. */
export function usageError(message: string, ...details: readonly string[]): CliError {
  return new CliError(ExitCode.usage, message, details);
}
