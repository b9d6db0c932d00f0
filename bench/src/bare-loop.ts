import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { runName } from '@carillon/core/run-name.ts';
import { RunKind } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  BatchCreateRunsRequestSchema,
  type CreateRunRequest,
  CreateRunRequestSchema,
  RunService,
} from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createCarillonTransport } from '@carillon/server/client-transport.ts';
import { createClient } from '@connectrpc/connect';

/** How a loop calls. */
export interface BareLoopOptions {
  /** Where the runs service is. */
  readonly baseUrl: string;
  /** Runs of a call; 1 calls CreateRun, as the scheduler does. */
  readonly batch: number;
  /** Calls in flight. */
  readonly calls: number;
  readonly forMs: number;
}

const PROJECT = 'bench';
const DOMAIN = 'floor';
/** So many slots share a second. */
const SCHEDULES = 20_000;
/** All on one day, or two, and before any slot that is due from now on. */
const LAST_SEC = Math.floor(Date.now() / 1000) - 1;
let slots = 0;

/**
 * Makes the calls that the scheduler makes, and nothing else: no plan, no last look, no settlement. What it reaches is the most that a
 * scheduler could reach through this client and this service on this machine.
 *
 * @returns runs created per second
 */
export async function bareLoop({ baseUrl, batch, calls, forMs }: BareLoopOptions): Promise<number> {
  const transport = createCarillonTransport({ baseUrl, writeMaxBytes: 16 * 1024 * 1024 });
  const client = createClient(RunService, transport);
  const beginMs = performance.now();
  let created = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - beginMs < forMs) {
      if (batch === 1) {
        await client.createRun(nextRequest());
      } else {
        const message = create(BatchCreateRunsRequestSchema);
        message.requests = Array.from({ length: batch }, () => nextRequest());
        const { results } = await client.batchCreateRuns(message);
        const refused = results.find((result) => result.error !== undefined);
        if (refused) throw new Error(`not created: ${refused.error?.message}`);
      }
      created += batch;
    }
  };
  await Promise.all(Array.from({ length: calls }, caller));
  const elapsedMs = performance.now() - beginMs;
  transport.close();
  return (created * 1000) / elapsedMs;
}

function nextRequest(): CreateRunRequest {
  const slot = slots++;
  const schedule = `floor-${slot % SCHEDULES}`;
  const nominalSec = LAST_SEC - Math.floor(slot / SCHEDULES);
  const request: MessageInitShape<typeof CreateRunRequestSchema> = {
    parent: `projects/${PROJECT}/domains/${DOMAIN}`,
    runId: runName({ project: PROJECT, domain: DOMAIN, schedule, nominalSec, kind: 'slot', id: '' }),
    spec: { task: 'bench.ring' },
    kind: RunKind.SLOT,
    schedule: `projects/${PROJECT}/domains/${DOMAIN}/schedules/${schedule}`,
    scheduleUid: '5e0c1c3c-5d0a-4a10-9a0e-6d5a4f0f7a11',
    scheduleRevision: 1,
    nominalTime: timestampFromMs(nominalSec * 1000),
    fireTime: timestampFromMs(Date.now()),
    notAfter: timestampFromMs(Date.now() + 60_000),
  };
  return create(CreateRunRequestSchema, request);
}
