import {
  BadRequestSchema,
  ErrorInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { DEFAULT_SEGMENT } from './command-options.ts';
import { printable } from './display-text.ts';
import { exactDuration } from './duration.ts';
import { CliError, ExitCode } from './exit-code.ts';
import { lastSegment, shortName } from './resource-argument.ts';

/** A failure as it is shown: a first line, further ones below it, and what the command exits with. */
export interface Failure {
  readonly message: string;
  readonly details: readonly string[];
  readonly exitCode: ExitCode;
}

/** Where the field of a violation stands in what the user wrote, as `schedules.yaml:12:9`; undefined if nowhere. */
export type FieldLocator = (protoPath: string) => string | undefined;

const EXIT_CODES: Readonly<Record<Code, ExitCode>> = {
  [Code.Canceled]: ExitCode.failed,
  [Code.Unknown]: ExitCode.failed,
  [Code.InvalidArgument]: ExitCode.usage,
  [Code.DeadlineExceeded]: ExitCode.unavailable,
  [Code.NotFound]: ExitCode.notFound,
  [Code.AlreadyExists]: ExitCode.conflict,
  [Code.PermissionDenied]: ExitCode.denied,
  [Code.ResourceExhausted]: ExitCode.unavailable,
  [Code.FailedPrecondition]: ExitCode.conflict,
  [Code.Aborted]: ExitCode.conflict,
  [Code.OutOfRange]: ExitCode.usage,
  [Code.Unimplemented]: ExitCode.failed,
  [Code.Internal]: ExitCode.failed,
  [Code.Unavailable]: ExitCode.unavailable,
  [Code.DataLoss]: ExitCode.failed,
  [Code.Unauthenticated]: ExitCode.denied,
};

/**
 * What went wrong, for people. Undefined for what is no refusal but a defect: that one belongs on the screen with its stack.
 */
export function describeFailure(error: unknown, locate: FieldLocator = () => undefined): Failure | undefined {
  if (error instanceof CliError) {
    return { message: error.message, details: error.details, exitCode: error.exitCode };
  }
  if (!(error instanceof ConnectError)) return undefined;
  const message = printable(error.rawMessage === '' ? `refused with ${Code[error.code]}` : error.rawMessage);
  const violations = error.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
  const exitCode = EXIT_CODES[error.code];
  if (violations.length > 0) {
    return {
      message: 'the request is not valid',
      details: violations.map(({ field, description }) => {
        const place = locate(field);
        const text = `${field === '' ? '' : `${field}: `}${description}`;
        return printable(place === undefined ? text : `${place}: ${text}`);
      }),
      exitCode,
    };
  }
  const [missing] = error.findDetails(ResourceInfoSchema);
  const absence = missing === undefined ? undefined : describeAbsence(missing.resourceName);
  if (error.code === Code.NotFound && absence !== undefined) return { ...absence, exitCode };
  const details: string[] = [];
  const [info] = error.findDetails(ErrorInfoSchema);
  if (info !== undefined && info.reason !== '') {
    const facts = Object.entries(info.metadata).map(([key, value]) => `${key}=${value}`);
    details.push(printable(`reason: ${[info.reason, ...facts].join(' ')}`));
  }
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay !== undefined) {
    details.push(
      `try again in ${exactDuration(Number(delay.seconds) * 1_000 + Math.round(delay.nanos / 1e6))}`,
    );
  }
  return { message, details, exitCode };
}

const RESOURCE = /^(projects\/([^/]+)\/domains\/([^/]+)\/(schedules|runs)\/[^/]+)(\/revisions\/\d+)?$/;

/** What is said of a resource that does not exist, and where to look; undefined if it is none of ours. */
function describeAbsence(resourceName: string): Omit<Failure, 'exitCode'> | undefined {
  const [, name = '', project, domain, collection, revision] = RESOURCE.exec(resourceName) ?? [];
  if (name === '' || name !== printable(name)) return undefined;
  if (revision !== undefined) {
    return {
      message: `${shortName(name)} has no revision ${lastSegment(revision)}`,
      details: [`"carillon schedules revisions ${shortName(name)}" lists those it has.`],
    };
  }
  const isDefault = project === DEFAULT_SEGMENT && domain === DEFAULT_SEGMENT;
  return {
    message: `there is no ${collection === 'runs' ? 'run' : 'schedule'} ${shortName(name)}`,
    details: [
      ...(isDefault
        ? ['A name alone is looked for in default/default: give PROJECT/DOMAIN/NAME, or -p and -d.']
        : []),
      `"carillon ${collection} list" lists those there are.`,
    ],
  };
}

/** The lines that are printed for a failure: `error: …`, and its details below. */
export function failureLines({ message, details }: Failure): string[] {
  return [`error: ${message}`, ...details.map((detail) => `  ${detail}`)];
}
