import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
} from '@bufbuild/protobuf';
import { isNameSegment, type Parent } from '@carillon/core/resource-name.ts';
import { RunPayloadSchema, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  CatchUpSchema,
  CronSchema,
  OverlapSchema,
  RateSchema,
  type Schedule,
  ScheduleSchema,
  ScheduleSpecSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import type { FieldLocator } from '../failure.ts';
import { resourceName } from '../resource-argument.ts';
import type { ManifestNode, ManifestSource } from './manifest-source.ts';
import { MessageReader } from './message-reader.ts';

/** One schedule of a manifest. */
export interface ScheduleManifest {
  readonly schedule: Schedule;
  /** Whether it is to be created without an active revision. */
  readonly inactive: boolean;
  /** Where it stands, as `schedules.yaml:12:1`. */
  readonly place: string;
  /** Where the field of a violation stands, or the nearest thing around it. */
  readonly locate: FieldLocator;
}

/** What a scalar in a message's place stands for. */
const MAIN_FIELDS: ReadonlyMap<string, string> = new Map([
  [CronSchema.typeName, 'expression'],
  [RateSchema.typeName, 'interval'],
  [CatchUpSchema.typeName, 'policy'],
  [OverlapSchema.typeName, 'policy'],
]);

/** Read, so that what `get -o yaml` printed can be applied again, and then left out. */
const OUTPUT_ONLY: ReadonlySet<string> = new Set([
  'uid',
  'revision',
  'activeRevision',
  'state',
  'pause',
  'generation',
  'createTime',
  'updateTime',
  'deleteTime',
  'status',
]);

/** Where a key at the top of a schedule belongs in the proto, from the schedule down. */
interface Home {
  readonly path: readonly DescField[];
  /** A key that must stand beside it. */
  readonly needs?: string;
}

const HOMES = homes();

/**
 * Reads a schedule in either notation: proto JSON, or the same names without the nesting (`cron`, `every`, `task`, …).
 * @throws CliError at the first place that is not right.
 */
export function readScheduleManifest(
  source: ManifestSource,
  entry: ManifestNode,
  defaults: Parent,
): ScheduleManifest {
  const places = new Map<string, ManifestNode>([['', entry]]);
  const reader = new MessageReader(source, MAIN_FIELDS, places);
  const json: JsonObject = {};
  const seen = new Map<string, ManifestNode>();
  const own = new Map<string, string | boolean>();

  for (const { key, keyNode, value } of source.pairs(entry, 'a schedule')) {
    seen.set(key, { node: keyNode, document: entry.document });
    if (key === 'project' || key === 'domain' || key === 'name') {
      own.set(key, segmentText(source, value, key));
      places.set(key, value);
    } else if (key === 'inactive') {
      const flag = source.scalar(value);
      if (typeof flag !== 'boolean') throw source.error(value, 'inactive must be true or false');
      own.set(key, flag);
    } else {
      const home = HOMES.get(key);
      if (home === undefined) throw reader.unknownKey({ node: keyNode }, key, knownKeys());
      place(source, reader, json, home.path, value, keyNode);
    }
  }
  for (const [key, keyNode] of seen) {
    const needs = HOMES.get(key)?.needs;
    if (needs !== undefined && !seen.has(needs)) {
      throw source.error(keyNode, `${key} stands beside ${needs}, and there is none`);
    }
  }
  checkPattern(source, entry, json, places);
  for (const key of OUTPUT_ONLY) delete json[key];

  const parent = {
    project: String(own.get('project') ?? defaults.project),
    domain: String(own.get('domain') ?? defaults.domain),
  };
  const given = own.get('name');
  if (typeof given !== 'string') throw source.error(entry, 'a schedule needs a name');
  const name = resourceName(given, 'schedules', parent);
  if (name === undefined) {
    throw source.error(
      places.get('name') ?? entry,
      `"${given}" is not the name of a schedule`,
      'Write NAME (beside project and domain) or PROJECT/DOMAIN/NAME, each of a-z, 0-9 and -, beginning with a letter.',
    );
  }
  return {
    schedule: fromJson(ScheduleSchema, { ...json, name }),
    inactive: own.get('inactive') === true,
    place: source.place(entry),
    locate: (path) => locate(source, places, path),
  };
}

/** Puts a value where it belongs; a second value for the same place is refused. */
function place(
  source: ManifestSource,
  reader: MessageReader,
  json: JsonObject,
  path: readonly DescField[],
  value: ManifestNode,
  keyNode: ManifestNode['node'],
): void {
  const field = path.at(-1);
  if (field === undefined) return;
  const read = reader.field(value, field, path.map((step) => step.name).join('.'));
  const clash = merge(json, path, read);
  if (clash !== undefined) {
    throw source.error({ node: keyNode }, `${clash} is given twice: here, and in its nested form`);
  }
}

/** Merges a value in at the path; answers the field that had one already. */
function merge(into: JsonObject, path: readonly DescField[], value: JsonValue): string | undefined {
  const nested = path.reduceRight<JsonValue>((inner, field) => ({ [field.jsonName]: inner }), value);
  return mergeObjects(into, nested as JsonObject);
}

function mergeObjects(into: JsonObject, from: JsonObject): string | undefined {
  for (const [key, value] of Object.entries(from)) {
    const present = Object.hasOwn(into, key) ? into[key] : undefined;
    if (present === undefined) {
      Object.defineProperty(into, key, { value, enumerable: true, writable: true, configurable: true });
    } else {
      const clash = isObject(present) && isObject(value) ? mergeObjects(present, value) : key;
      if (clash !== undefined) return clash;
    }
  }
  return undefined;
}

function checkPattern(
  source: ManifestSource,
  entry: ManifestNode,
  json: JsonObject,
  places: ReadonlyMap<string, ManifestNode>,
): void {
  const spec = json.spec;
  const given = ['cron', 'rate', 'at', 'calendar'].filter((pattern) => isObject(spec) && pattern in spec);
  if (given.length === 1) return;
  const at = given.length === 0 ? entry : (places.get(`spec.${given[1]}`) ?? entry);
  throw source.error(
    at,
    given.length === 0
      ? 'when does it fire? One of cron, every, at and calendar is missing'
      : 'only one of cron, every, at and calendar may be given',
  );
}

function segmentText(source: ManifestSource, value: ManifestNode, key: string): string {
  const text = source.scalar(value);
  if (typeof text !== 'string') throw source.error(value, `${key} must be text`);
  if (key !== 'name' && !isNameSegment(text)) {
    throw source.error(
      value,
      `"${text}" is not a ${key}`,
      'It begins with a-z, holds a-z, 0-9 and -, and has at most 63 characters.',
    );
  }
  return text;
}

function locate(
  source: ManifestSource,
  places: ReadonlyMap<string, ManifestNode>,
  protoPath: string,
): string | undefined {
  if (protoPath !== 'schedule' && !protoPath.startsWith('schedule.')) return undefined;
  for (
    let path = protoPath.slice('schedule.'.length);
    path !== '';
    path = path.replace(/(\.[^.[\]]*|\[[^\]]*\]|^[^.[\]]*)$/, '')
  ) {
    const found = places.get(path);
    if (found !== undefined) return source.place(found);
  }
  const entry = places.get('');
  return entry === undefined ? undefined : source.place(entry);
}

function homes(): ReadonlyMap<string, Home> {
  const spec = fieldOf(ScheduleSchema, 'spec');
  const run = fieldOf(ScheduleSpecSchema, 'run');
  const cron = fieldOf(ScheduleSpecSchema, 'cron');
  const found = new Map<string, Home>();
  const add = (key: string, home: Home): void => {
    // The outer name wins: `labels` at the top are the schedule's, not the run's.
    if (!found.has(key)) found.set(key, home);
  };
  for (const field of ScheduleSchema.fields)
    if (field.name !== 'name') add(field.jsonName, { path: [field] });
  for (const field of ScheduleSpecSchema.fields) add(field.jsonName, { path: [spec, field] });
  add('every', { path: [spec, fieldOf(ScheduleSpecSchema, 'rate'), fieldOf(RateSchema, 'interval')] });
  // At the top, inputs are the arguments themselves; bytes are given in the nested form.
  const inputs = fieldOf(RunSpecSchema, 'inputs');
  add('inputs', { path: [spec, run, inputs, fieldOf(RunPayloadSchema, 'values')] });
  for (const field of RunSpecSchema.fields) add(field.jsonName, { path: [spec, run, field] });
  for (const field of CronSchema.fields) {
    if (field.name !== 'expression') add(field.jsonName, { path: [spec, cron, field], needs: 'cron' });
  }
  return found;
}

function knownKeys(): string[] {
  return ['name', 'project', 'domain', 'inactive', ...HOMES.keys()].filter((key) => !OUTPUT_ONLY.has(key));
}

function fieldOf(desc: DescMessage, name: string): DescField {
  const field = desc.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new RangeError(`${desc.typeName} has no field ${name}`);
  return field;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
