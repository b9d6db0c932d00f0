import { create, fromBinary, type JsonObject, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { flyteRunName, formatInstant, runName } from '@carillon/core/run-name.ts';
import type { OverlapPolicy as CoreOverlapPolicy } from '@carillon/core/schedule-spec.ts';
import type { LastLook } from '@carillon/db/tables/last-look.ts';
import {
  OverlapPolicy,
  RunKind,
  RunPayloadSchema,
  type RunSpec,
  RunSpecSchema,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  type CreateRunRequest,
  CreateRunRequestSchema,
} from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import type { Slot } from './slot.ts';

/** How the runs of slots are named: our own 130 bits, or as Flyte 2's scheduler names them. */
export type NameScheme = 'carillon' | 'flyte';

const POLICIES: Readonly<Record<CoreOverlapPolicy, OverlapPolicy>> = {
  ALLOW: OverlapPolicy.ALLOW,
  SKIP: OverlapPolicy.SKIP,
  BUFFER_ONE: OverlapPolicy.BUFFER_ONE,
  BUFFER_ALL: OverlapPolicy.BUFFER_ALL,
  CANCEL_OTHER: OverlapPolicy.CANCEL_OTHER,
  TERMINATE_OTHER: OverlapPolicy.TERMINATE_OTHER,
};

/** The run id of a slot. */
export function runIdOf(scheme: NameScheme, look: LastLook, task: string, nominalSec: number): string {
  const parts = { project: look.project, domain: look.domain, schedule: look.scheduleId, nominalSec };
  if (scheme === 'flyte') return flyteRunName({ ...parts, task });
  return runName({ ...parts, kind: 'slot', id: '' });
}

/** The RunSpec of a revision, as stored. */
export function storedRunSpec(look: LastLook): RunSpec {
  return look.run ? fromBinary(RunSpecSchema, look.run) : create(RunSpecSchema);
}

/** The request that creates the run of a slot. */
export function createRunRequest(slot: Slot, look: LastLook, scheme: NameScheme): CreateRunRequest {
  const spec = storedRunSpec(look);
  if (slot.timing.nominalTimeInput !== '')
    setInput(spec, slot.timing.nominalTimeInput, formatInstant(slot.nominalSec));
  const { project, domain, scheduleId } = look;
  const { overlap } = slot.timing;
  const request: MessageInitShape<typeof CreateRunRequestSchema> = {
    parent: `projects/${project}/domains/${domain}`,
    runId: runIdOf(scheme, look, spec.task, slot.nominalSec),
    spec,
    kind: RunKind.SLOT,
    schedule: `projects/${project}/domains/${domain}/schedules/${scheduleId}`,
    scheduleUid: scheme === 'flyte' ? '' : look.uid,
    scheduleRevision: look.revision ?? 0,
    nominalTime: timestampFromMs(slot.nominalSec * 1000),
    fireTime: timestampFromMs(Math.round(slot.firedAtMs)),
    notAfter: timestampFromMs(slot.notAfterMs),
    ...(overlap
      ? { concurrency: { key: look.uid, limit: overlap.limit, policy: POLICIES[overlap.policy] } }
      : {}),
  };
  return create(CreateRunRequestSchema, request);
}

function setInput(spec: RunSpec, name: string, value: string): void {
  const given: JsonObject = spec.inputs?.content.case === 'values' ? spec.inputs.content.value : {};
  spec.inputs = create(RunPayloadSchema, { content: { case: 'values', value: { ...given, [name]: value } } });
}
