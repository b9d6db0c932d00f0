import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  PauseSchema,
  type Schedule,
  ScheduleRevisionSchema,
  ScheduleSchema,
  ScheduleSpecSchema,
  ScheduleState,
  ScheduleStatusSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ScheduleChange, ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { BadRequestSchema, ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code, ConnectError, createRouterTransport, type Transport } from '@connectrpc/connect';

/** The API's side of the command line's tests: enough of the service's behaviour to see that each call is made as meant. */
export class FakeScheduleService {
  readonly schedules = new Map<string, Schedule>();
  /** Every request, by method, in order. */
  readonly requests: { readonly method: string; readonly request: unknown }[] = [];

  /** A transport to it, in memory. */
  transport(): Transport {
    return createRouterTransport(({ service }) => {
      service(ScheduleService, {
        createSchedule: (request) => {
          this.requests.push({ method: 'create', request });
          const name = `${request.parent}/schedules/${request.scheduleId}`;
          if (this.schedules.has(name)) throw new ConnectError(`${name} exists`, Code.AlreadyExists);
          const schedule = this.#put(name, request.schedule, request.validateOnly, request.inactive);
          return { schedule };
        },
        updateSchedule: (request) => {
          this.requests.push({ method: 'update', request });
          const { schedule: given, validateOnly } = request;
          const before = this.schedules.get(given?.name ?? '');
          if (given?.spec?.pattern.case === 'cron' && given.spec.pattern.value.expression.startsWith('61')) {
            throw new ConnectError('invalid', Code.InvalidArgument, undefined, [
              {
                desc: BadRequestSchema,
                value: {
                  fieldViolations: [
                    {
                      field: 'schedule.spec.cron.expression',
                      description: 'minute, column 1: 61 is out of range',
                    },
                  ],
                },
              },
            ]);
          }
          if (before === undefined) {
            if (!request.allowMissing) throw new ConnectError(`${given?.name} not found`, Code.NotFound);
            return {
              change: ScheduleChange.CREATED,
              schedule: this.#put(given?.name ?? '', given, validateOnly, false),
            };
          }
          if (given?.etag !== '' && given?.etag !== before.etag) {
            throw new ConnectError('the schedule has changed', Code.Aborted, undefined, [
              {
                desc: ErrorInfoSchema,
                value: { reason: 'STALE_ETAG', metadata: { currentEtag: before.etag } },
              },
            ]);
          }
          const bytes = (spec: Schedule['spec']) =>
            spec === undefined ? '' : Buffer.from(toBinary(ScheduleSpecSchema, spec)).toString('hex');
          if (bytes(before.spec) === bytes(given?.spec) && before.description === given?.description) {
            return { change: ScheduleChange.UNCHANGED, schedule: before };
          }
          return {
            change: ScheduleChange.UPDATED,
            schedule: this.#put(before.name, given, validateOnly, false),
          };
        },
        getSchedule: ({ name }) => ({ schedule: this.#get(name) }),
        listSchedules: (request) => {
          this.requests.push({ method: 'list', request });
          const all = [...this.schedules.values()];
          const start = Number(request.pageToken || 0);
          const schedules = all.slice(start, start + 2);
          return { schedules, nextPageToken: start + 2 < all.length ? String(start + 2) : '' };
        },
        listScheduleRevisions: ({ name }) => ({
          revisions: [
            create(ScheduleRevisionSchema, {
              schedule: name,
              revision: 1,
              actor: 'ann',
              spec: this.#get(name).spec!,
            }),
          ],
        }),
        activateSchedule: (request) => this.#state('activate', request, ScheduleState.ACTIVE),
        deactivateSchedule: (request) => this.#state('deactivate', request, ScheduleState.INACTIVE),
        pauseSchedule: (request) => this.#state('pause', request, ScheduleState.PAUSED),
        unpauseSchedule: (request) => this.#state('unpause', request, ScheduleState.ACTIVE),
        deleteSchedule: (request) => {
          if (request.allowMissing && !this.schedules.has(request.name)) return {};
          const answer = this.#state('delete', request, ScheduleState.DELETED);
          this.schedules.delete(request.name);
          return answer;
        },
        previewSchedule: (request) => {
          this.requests.push({ method: 'preview', request });
          return {
            recurrence: 'every minute',
            slots: [
              {
                nominalTime: timestampFromMs(60_000),
                dueTime: timestampFromMs(61_500),
                localTime: '1970-01-01T00:01:00Z',
              },
              ...(request.showExcluded
                ? [
                    {
                      nominalTime: timestampFromMs(86_460_000),
                      dueTime: timestampFromMs(86_460_000),
                      localTime: '1970-01-02T00:01:00Z',
                      excludedBy: 'holidays',
                    },
                  ]
                : []),
            ],
          };
        },
      });
    });
  }

  #get(name: string): Schedule {
    const schedule = this.schedules.get(name);
    if (schedule === undefined) throw new ConnectError(`${name} not found`, Code.NotFound);
    return schedule;
  }

  #state(
    method: string,
    request: { readonly name: string; readonly etag: string },
    state: ScheduleState,
  ): { schedule: Schedule } {
    this.requests.push({ method, request });
    const schedule = this.#get(request.name);
    schedule.state = state;
    schedule.activeRevision = state === ScheduleState.ACTIVE ? schedule.revision : 0;
    if (state === ScheduleState.PAUSED)
      schedule.pause = create(PauseSchema, { actor: 'ann', reason: 'why not' });
    return { schedule };
  }

  #put(name: string, given: Schedule | undefined, validateOnly: boolean, inactive: boolean): Schedule {
    const revision = (this.schedules.get(name)?.revision ?? 0) + 1;
    if (given?.spec === undefined) throw new ConnectError('spec is required', Code.InvalidArgument);
    const schedule = create(ScheduleSchema, {
      description: given.description,
      labels: given.labels,
      spec: given.spec,
      name,
      uid: 'uid-1',
      revision,
      activeRevision: inactive ? 0 : revision,
      generation: BigInt(revision),
      etag: String(revision),
      state: inactive ? ScheduleState.INACTIVE : ScheduleState.ACTIVE,
      updateTime: timestampFromMs(0),
      status: create(ScheduleStatusSchema, {
        nextSlotTimes: [timestampFromMs(32_503_680_000_000 / 10)],
        recurrence: 'in words',
      }),
    });
    if (!validateOnly) this.schedules.set(name, schedule);
    return schedule;
  }
}
