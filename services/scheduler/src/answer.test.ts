import { create } from '@bufbuild/protobuf';
import { anyPack, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { ExistingRunSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '@carillon/gen/google/rpc/status_pb.ts';
import { codeName } from '@carillon/server/call.ts';
import { ERROR_DOMAIN } from '@carillon/server/status.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { isServiceFailure, refusedAnswer, refusedCall, refusedItem } from './answer.ts';

const asked = { scheduleUid: 'u1', nominalMs: 60_000, acceptsForeign: false };
const codes = Object.values(Code).filter((code): code is Code => typeof code === 'number');

function ours(code: Code, reason: string, metadata: Record<string, string> = {}): ConnectError {
  const detail = { desc: ErrorInfoSchema, value: { domain: ERROR_DOMAIN, reason, metadata } };
  return new ConnectError('our word', code, undefined, [detail]);
}

function existing(changes: {
  scheduleUid?: string;
  nominalMs?: number;
  outcome?: RunOutcome;
  sameSpec?: boolean;
}) {
  const detail = create(ExistingRunSchema, {
    name: 'projects/p/domains/d/runs/r1',
    scheduleUid: changes.scheduleUid ?? 'u1',
    nominalTime: timestampFromMs(changes.nominalMs ?? 60_000),
    outcome: changes.outcome ?? RunOutcome.STARTED,
    sameSpec: changes.sameSpec ?? true,
  });
  const info = create(ErrorInfoSchema, { domain: ERROR_DOMAIN, reason: 'RUN_EXISTS' });
  return refusedItem(
    create(StatusSchema, {
      code: Code.AlreadyExists,
      message: 'it exists',
      details: [anyPack(ErrorInfoSchema, info), anyPack(ExistingRunSchema, detail)],
    }),
  );
}

describe('what an answer means', () => {
  const final = new Set([
    Code.InvalidArgument,
    Code.NotFound,
    Code.PermissionDenied,
    Code.FailedPrecondition,
    Code.OutOfRange,
  ]);

  test.each(codes.map((code) => [codeName(code), code] as const))('%s', (name, code) => {
    const own = refusedAnswer(refusedCall(ours(code, 'A_REASON')), asked);
    if (final.has(code))
      expect(own).toMatchObject({ kind: 'dead', verdict: { outcome: 'DEAD', reason: name } });
    else expect(own).toMatchObject({ kind: 'retry', code: name });
    // A proxy's bare word is never final.
    const strangers = refusedAnswer(refusedCall(new ConnectError('who knows', code)), asked);
    expect(strangers).toMatchObject({ kind: 'retry', code: name });
  });

  test('whatever a refusal says can be stored', () => {
    const said = refusedAnswer(
      { ...refusedCall(ours(Code.NotFound, 'TASK')), message: `no\0such ${'x'.repeat(5_000)}` },
      asked,
    );
    expect(said).toMatchObject({ kind: 'dead' });
    const message = said.kind === 'dead' ? said.verdict.message : '';
    expect(message).toMatch(/^TASK: no\u{fffd}such x+…$/u);
    expect(message.length).toBeLessThanOrEqual(1_000);
  });

  test('an expired not_after is sent again', () => {
    expect(refusedAnswer(refusedCall(ours(Code.FailedPrecondition, 'EXPIRED')), asked)).toEqual({
      kind: 'expired',
    });
  });

  test('the own slot that exists is success, whatever the spec', () => {
    expect(refusedAnswer(existing({}), asked)).toMatchObject({
      kind: 'fired',
      created: false,
      asAsked: true,
    });
    expect(refusedAnswer(existing({ sameSpec: false }), asked)).toMatchObject({
      kind: 'fired',
      asAsked: false,
    });
    expect(refusedAnswer(existing({ outcome: RunOutcome.SKIPPED }), asked)).toMatchObject({
      kind: 'fired',
      skipped: true,
    });
  });

  test("another schedule's or another slot's run is a collision", () => {
    const collision = { kind: 'dead', verdict: { outcome: 'DEAD', reason: 'COLLISION' } };
    expect(refusedAnswer(existing({ scheduleUid: 'u2' }), asked)).toMatchObject(collision);
    expect(refusedAnswer(existing({ nominalMs: 120_000 }), asked)).toMatchObject(collision);
    expect(refusedAnswer(existing({ scheduleUid: '' }), asked)).toMatchObject(collision);
  });

  test('beside a Flyte scheduler a run without a uid is the slot’s own', () => {
    const flyte = { ...asked, acceptsForeign: true };
    expect(refusedAnswer(existing({ scheduleUid: '' }), flyte)).toMatchObject({ kind: 'fired' });
  });

  test('the breaker counts failures of the service, and no quota of one project', () => {
    const counted = codes.filter((code) => isServiceFailure(refusedCall(ours(code, 'A_REASON'))));
    expect(counted.map(codeName).sort()).toEqual([
      'DEADLINE_EXCEEDED',
      'INTERNAL',
      'RESOURCE_EXHAUSTED',
      'UNAVAILABLE',
      'UNKNOWN',
    ]);
    const quota = ours(Code.ResourceExhausted, 'PROJECT_QUOTA', { project: 'p' });
    expect(isServiceFailure(refusedCall(quota))).toBe(false);
  });
});
