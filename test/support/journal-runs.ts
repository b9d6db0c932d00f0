import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createRouterTransport, type Transport } from '@connectrpc/connect';
import type { JournalTarget } from './journal-target.ts';

/** A RunService in memory that reads a journal: what it says of runs is what was created there. */
export function journalRuns(target: JournalTarget): Transport {
  return createRouterTransport(({ service }) => {
    service(RunService, {
      batchGetRuns: ({ requests }) => ({
        results: requests.map(({ name }) => {
          const run = target.runs.get(name);
          if (run === undefined) return { name };
          const { scheduleUid, fireMs, nominalMs } = run;
          return {
            name,
            run: {
              name,
              scheduleUid,
              fireTime: timestampFromMs(fireMs),
              nominalTime: timestampFromMs(nominalMs),
            },
          };
        }),
      }),
    });
  });
}
