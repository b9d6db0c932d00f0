import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Fault } from '../fault.ts';

const CODES: readonly Code[] = Object.values(Code).filter((code): code is Code => typeof code === 'number');
/** What our own service says with a reason, and what makes a slot dead then. */
const PERMANENT = [
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.OutOfRange,
];

export const everyCode: Fault = {
  name: 'every-code',
  numbers: [12],
  story:
    'The runs service fails with each code in turn: bare, which delays; and with our own detail, of which five end a slot.',
  // One run a call: then an error speaks of one run.
  setUp: {
    gateway: true,
    bells: 10,
    scheduler: { CARILLON_BREAKER_RESET_MS: '200', CARILLON_RAMP_UP_MS: '50', CARILLON_MAX_BATCH: '1' },
  },
  async run(scenario) {
    const { gateway, pool } = scenario;
    for (const code of CODES) {
      await scenario.ringing();
      gateway.interference = async () => {
        throw new ConnectError('for no reason', code);
      };
      await delay(1_200);
      gateway.behave();
    }
    await scenario.ringing();
    const early = await deadOf(pool);
    if (early.length > 0) throw new Error(`bare codes ended slots: ${JSON.stringify(early)}`);

    let expected = 0;
    for (const code of CODES.filter((one) => one !== Code.AlreadyExists)) {
      const reason = create(ErrorInfoSchema, { reason: 'CHAOS', domain: 'carillon.dev' });
      let left = 1;
      gateway.interference = async (call) => {
        if (left-- <= 0) return await call.forward();
        throw new ConnectError('for a reason', code, undefined, [{ desc: ErrorInfoSchema, value: reason }]);
      };
      if (PERMANENT.includes(code)) expected++;
      await delay(1_500);
      gateway.behave();
      await scenario.ringing();
    }
    await delay(2_500);
    const dead = await deadOf(pool);
    if (dead.length !== expected || new Set(dead).size !== PERMANENT.length) {
      throw new Error(`${expected} slots should be dead, not: ${JSON.stringify(dead)}`);
    }
    return {
      latenessLimitMs: 60_000,
      mayWriteOff: true,
      figures: { codes: CODES.length, dead: dead.length },
    };
  },
};

async function deadOf(pool: Parameters<Fault['run']>[0]['pool']): Promise<string[]> {
  const { rows } = await pool.query<{ reason: string }>(
    "select reason from slot_ledger where outcome = 'DEAD'",
  );
  return rows.map((row) => row.reason);
}
