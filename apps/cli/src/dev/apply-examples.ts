import { sleep } from '@carillon/core/clock.ts';
import { ScheduleChange } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { connectSchedules } from '../connection.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import type { ScheduleManifest } from '../manifest/schedule-manifest.ts';
import { shortName } from '../resource-argument.ts';
import { type AppliedSchedule, applyManifests, changeText, readManifests } from '../schedules/apply.ts';
import { inCheckout } from './checkout.ts';
import type { DevState } from './dev-file.ts';

const FILE = inCheckout('examples', 'schedules.yaml');
const RETRY_MS = 500;

/** The addresses that the file is written for. */
const WRITTEN_FOR: DevState['urls'] = {
  schedules: 'http://127.0.0.1:7701',
  scheduler: 'http://127.0.0.1:7702',
  runs: 'http://127.0.0.1:7703',
};

/**
 * Applies `examples/schedules.yaml`, and waits for the service as long as it takes. What it refuses is told, and no reason
 * to end: the rest runs all the same.
 */
export async function applyExamples(
  host: Host,
  urls: DevState['urls'],
  signal: AbortSignal,
  log: (line: string) => void,
): Promise<void> {
  const manifests = (await readManifests(host, FILE, {})).map((manifest) => withAddresses(manifest, urls));
  const connection = await connectSchedules(host, { server: urls.schedules, timeout: 15_000 });
  for (;;) {
    signal.throwIfAborted();
    try {
      report(await applyManifests(connection, manifests, false), log);
      return;
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode !== ExitCode.unavailable) throw error;
    }
    await sleep(host.clock, RETRY_MS, signal);
  }
}

function report(applied: readonly AppliedSchedule[], log: (line: string) => void): void {
  for (const result of applied) {
    if ('failure' in result)
      log(`${shortName(result.name)}: ${[result.failure.message, ...result.failure.details].join('; ')}`);
  }
  const changes = [ScheduleChange.CREATED, ScheduleChange.UPDATED, ScheduleChange.UNCHANGED].flatMap(
    (change) => {
      const count = applied.filter((result) => 'change' in result && result.change === change).length;
      return count === 0 ? [] : [`${count} ${changeText(change)}`];
    },
  );
  log(`examples/schedules.yaml: ${changes.join(', ') || 'nothing applied'}`);
}

/** An example calls one of the services themselves, which may listen on another port than usual. */
function withAddresses(manifest: ScheduleManifest, urls: DevState['urls']): ScheduleManifest {
  const content = manifest.schedule.spec?.run?.inputs?.content;
  if (content?.case !== 'values' || typeof content.value.url !== 'string') return manifest;
  const { url } = content.value;
  for (const name of ['schedules', 'scheduler', 'runs'] as const) {
    if (url.startsWith(`${WRITTEN_FOR[name]}/`)) {
      content.value.url = urls[name] + url.slice(WRITTEN_FOR[name].length);
    }
  }
  return manifest;
}
