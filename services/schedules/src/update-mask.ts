import { clone, type DescField, type DescMessage } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { invalidArgument } from '@carillon/core/domain-error.ts';
import { type Schedule, ScheduleSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';

/** The fields of a schedule that callers may change. */
export const CHANGEABLE_FIELDS = ['description', 'labels', 'spec'] as const;

/** Paths of a mask, resolved to fields, from the schedule inwards. */
export type ResolvedMask = readonly (readonly DescField[])[];

/**
 * Resolves the paths of a mask; without any, and for `*`, all changeable fields.
 *
 * @throws {DomainError} INVALID_ARGUMENT at `update_mask`, for a path that names no changeable field.
 */
export function resolveMask(paths: readonly string[]): ResolvedMask {
  const wanted = paths.length === 0 || (paths.length === 1 && paths[0] === '*') ? CHANGEABLE_FIELDS : paths;
  return wanted.map(resolvePath);
}

/** What `target` becomes by taking the masked fields of `source`: those that are not set there are cleared. Neither is changed. */
export function applyMask(target: Schedule, source: Schedule, mask: ResolvedMask): Schedule {
  const result = clone(ScheduleSchema, target);
  const given = reflect(ScheduleSchema, clone(ScheduleSchema, source));
  for (const path of mask) copyField(reflect(ScheduleSchema, result), given, path);
  return result;
}

function copyField(
  target: ReflectMessage,
  source: ReflectMessage | undefined,
  path: readonly DescField[],
): void {
  const [field, ...rest] = path;
  if (field === undefined) throw new RangeError('a path has at least one field');
  const given = source?.isSet(field) ? source : undefined;
  if (rest.length === 0) {
    if (given === undefined) target.clear(field);
    else target.set(field, given.get(field));
    return;
  }
  if (field.fieldKind !== 'message') throw new RangeError(`${field.name} has no fields`);
  if (!target.isSet(field)) {
    // What is cleared in a message that is not there is clear.
    if (given === undefined) return;
    target.set(field, reflect(field.message));
  }
  copyField(target.get(field), given?.get(field), rest);
}

function resolvePath(path: string): readonly DescField[] {
  const fields: DescField[] = [];
  let within: DescMessage | undefined = ScheduleSchema;
  for (const segment of path.split('.')) {
    const field: DescField | undefined = within?.fields.find((candidate) => candidate.name === segment);
    if (field === undefined) throw unknownPath(path);
    fields.push(field);
    within = nestedMessage(field);
  }
  const [first] = fields;
  if (!CHANGEABLE_FIELDS.some((name) => name === first?.name)) throw unknownPath(path);
  return fields;
}

/** The message whose fields a path may go on with: not those of Google's types, which are values. */
function nestedMessage(field: DescField): DescMessage | undefined {
  if (field.fieldKind !== 'message' || field.message.typeName.startsWith('google.protobuf.'))
    return undefined;
  return field.message;
}

function unknownPath(path: string): Error {
  return invalidArgument({
    field: 'update_mask',
    description: `${JSON.stringify(path)} is not a field that can be changed; ${CHANGEABLE_FIELDS.join(', ')} and fields within spec are`,
    reason: 'UPDATE_MASK',
  });
}
