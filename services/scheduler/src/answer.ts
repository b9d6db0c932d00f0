import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { anyUnpack, timestampMs } from '@bufbuild/protobuf/wkt';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { type ExistingRun, ExistingRunSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import type { Status } from '@carillon/gen/google/rpc/status_pb.ts';
import { codeName } from '@carillon/server/call.ts';
import { ERROR_DOMAIN } from '@carillon/server/status.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { type Verdict, verdictMessage } from './slot.ts';

/** What an answer means for its slot. */
export type Answer =
  | FiredAnswer
  /** It will never get a run by being sent again. */
  | { readonly kind: 'dead'; readonly verdict: Verdict }
  /** Nothing was created, because `not_after` had passed: send again, with a later one. */
  | { readonly kind: 'expired' }
  /** To be sent again; `project` names the project whose limit it was, if it was one project's. */
  | {
      readonly kind: 'retry';
      readonly code: string;
      readonly message: string;
      readonly project: string | undefined;
    };

/** A run exists for the slot. */
export interface FiredAnswer {
  readonly kind: 'fired';
  /** By this attempt; otherwise it was there. */
  readonly created: boolean;
  /** False if it was created with another spec. */
  readonly asAsked: boolean;
  /** Its overlap policy decided that it is not executed. */
  readonly skipped: boolean;
}

/** Which run a slot asked for. */
export interface AskedRun {
  readonly scheduleUid: string;
  readonly nominalMs: number;
  /** Whether a run without a uid may be the slot's own: created by a Flyte scheduler beside us, under its names. */
  readonly acceptsForeign: boolean;
}

/** What was created, and what its overlap policy said. */
export function createdAnswer(outcome: RunOutcome): Answer {
  return { kind: 'fired', created: true, asAsked: true, skipped: outcome === RunOutcome.SKIPPED };
}

/** What was refused or failed, as an error of a call or as the status of one item of a batch. */
export interface Refused {
  readonly code: Code;
  readonly message: string;
  /** The reason in our own error detail; undefined: it is not our service's word. */
  readonly reason: string | undefined;
  /** The project whose limit it was, if it was one project's. */
  readonly project: string | undefined;
  readonly existing: ExistingRun | undefined;
}

/** The error of a call. */
export function refusedCall(thrown: unknown): Refused {
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === ERROR_DOMAIN);
  return {
    code: error.code,
    message: error.rawMessage,
    reason: info?.reason,
    project: info?.metadata.project,
    existing: error.findDetails(ExistingRunSchema)[0],
  };
}

/** The status of one item of a batch. */
export function refusedItem(status: Status): Refused {
  const find = <D extends DescMessage>(schema: D): MessageShape<D> | undefined => {
    for (const detail of status.details) {
      const unpacked = anyUnpack(detail, schema);
      if (unpacked) return unpacked;
    }
    return undefined;
  };
  const info = find(ErrorInfoSchema);
  return {
    code: status.code,
    message: status.message,
    reason: info?.domain === ERROR_DOMAIN ? info.reason : undefined,
    project: info?.domain === ERROR_DOMAIN ? info.metadata.project : undefined,
    existing: find(ExistingRunSchema),
  };
}

/** Codes that are final, if our own service says so: a proxy's bare 403 or 404 must not empty the queue. */
const PERMANENT: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.OutOfRange,
]);

/** What a refusal or failure means for the slot. */
export function refusedAnswer(refused: Refused, asked: AskedRun): Answer {
  const { code, reason, existing, message } = refused;
  if (code === Code.AlreadyExists && existing) return existingAnswer(existing, asked);
  if (reason !== undefined && code === Code.FailedPrecondition && reason === 'EXPIRED')
    return { kind: 'expired' };
  if (reason !== undefined && PERMANENT.has(code)) {
    return {
      kind: 'dead',
      verdict: { outcome: 'DEAD', reason: codeName(code), message: verdictMessage(`${reason}: ${message}`) },
    };
  }
  const project = code === Code.ResourceExhausted ? refused.project : undefined;
  return { kind: 'retry', code: codeName(code), message, project };
}

/** Whether a run that stands under the name is the one that was asked for. */
export function isAskedRun(
  { scheduleUid, nominalMs }: { readonly scheduleUid: string; readonly nominalMs: number },
  asked: AskedRun,
): boolean {
  if (scheduleUid === '' && asked.acceptsForeign) return true;
  return scheduleUid === asked.scheduleUid && nominalMs === asked.nominalMs;
}

function existingAnswer(existing: ExistingRun, asked: AskedRun): Answer {
  const nominalMs = existing.nominalTime ? timestampMs(existing.nominalTime) : Number.NaN;
  if (isAskedRun({ scheduleUid: existing.scheduleUid, nominalMs }, asked)) {
    const skipped = existing.outcome === RunOutcome.SKIPPED;
    return { kind: 'fired', created: false, asAsked: existing.sameSpec, skipped };
  }
  return {
    kind: 'dead',
    verdict: {
      outcome: 'DEAD',
      reason: 'COLLISION',
      message: verdictMessage(
        `the run ${existing.name} belongs to schedule uid ${existing.scheduleUid || '(none)'} at ${
          Number.isNaN(nominalMs) ? 'an unknown time' : new Date(nominalMs).toISOString()
        }`,
      ),
    },
  };
}

/** Codes of a whole call by which the breaker counts a failure. A quota of one project is no failure of the service. */
export function isServiceFailure(refused: Refused): boolean {
  switch (refused.code) {
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.Internal:
    case Code.Unknown:
      return true;
    case Code.ResourceExhausted:
      return refused.project === undefined;
    default:
      return false;
  }
}

/** Whether a smaller batch may fare better: the answer may depend on what is in it. */
export function maybeTooLarge(code: Code): boolean {
  return code !== Code.Unavailable && code !== Code.Canceled;
}
