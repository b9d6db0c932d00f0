import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from '@bufbuild/protobuf';
import { DurationSchema, StructSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { parseRfc3339 } from '@carillon/core/rfc3339.ts';
import { parseDuration } from '../duration.ts';
import type { CliError } from '../exit-code.ts';
import { closestWord } from './closest-word.ts';
import type { ManifestNode, ManifestSource } from './manifest-source.ts';

/**
 * Reads YAML as a protobuf message, by the message's own description, so that it knows every field that the API knows:
 * proto JSON names, and anything else is refused where it stands. Three short forms are understood everywhere:
 * durations as `1h30m`, enum values without their prefix (`SKIP`), and a scalar for a message that has one main field.
 */
export class MessageReader {
  readonly #source: ManifestSource;
  readonly #mainFields: ReadonlyMap<string, string>;
  readonly #places: Map<string, ManifestNode>;

  /**
   * @param mainFields by message type, the field that a scalar in the message's place stands for.
   * @param places receives where each proto field path was read.
   */
  constructor(
    source: ManifestSource,
    mainFields: ReadonlyMap<string, string>,
    places: Map<string, ManifestNode>,
  ) {
    this.#source = source;
    this.#mainFields = mainFields;
    this.#places = places;
  }

  /** The proto JSON of a message. @throws CliError at the first place that is not right. */
  message(at: ManifestNode, desc: DescMessage, path: string): JsonValue {
    this.#places.set(path, at);
    switch (desc.typeName) {
      case DurationSchema.typeName:
        return this.#duration(at);
      case TimestampSchema.typeName:
        return this.#timestamp(at);
      case StructSchema.typeName:
        return this.#struct(at);
    }
    const mainField = this.#mainFields.get(desc.typeName);
    const scalar = this.#source.scalar(at);
    if (mainField !== undefined && scalar !== undefined && scalar !== null) {
      const field = desc.fields.find((candidate) => candidate.name === mainField);
      if (field !== undefined) return { [field.jsonName]: this.field(at, field, `${path}.${field.name}`) };
    }
    const json: JsonObject = {};
    for (const { key, keyNode, value } of this.#source.pairs(at, `"${desc.name}"`)) {
      const field = fieldOf(desc, key);
      if (field === undefined) {
        throw this.unknownKey(
          { node: keyNode },
          key,
          desc.fields.map((known) => known.jsonName),
        );
      }
      json[field.jsonName] = this.field(value, field, path === '' ? field.name : `${path}.${field.name}`);
    }
    return json;
  }

  /** The proto JSON of a field's value. @throws CliError at the first place that is not right. */
  field(at: ManifestNode, field: DescField, path: string): JsonValue {
    this.#places.set(path, at);
    switch (field.fieldKind) {
      case 'message':
        return this.message(at, field.message, path);
      case 'enum':
        return this.#enum(at, field.enum);
      case 'scalar':
        return this.#scalar(at, field.scalar);
      case 'list':
        return this.#source.items(at, field.jsonName).map((item, index) => {
          const itemPath = `${path}[${index}]`;
          if (field.listKind === 'message') return this.message(item, field.message, itemPath);
          return field.listKind === 'enum' ? this.#enum(item, field.enum) : this.#scalar(item, field.scalar);
        });
      case 'map': {
        const entries = this.#source.pairs(at, field.jsonName).map(({ key, value }): [string, JsonValue] => {
          const entryPath = `${path}[${JSON.stringify(key)}]`;
          this.#places.set(entryPath, value);
          if (field.mapKind === 'message') return [key, this.message(value, field.message, entryPath)];
          return [
            key,
            field.mapKind === 'enum' ? this.#enum(value, field.enum) : this.#scalar(value, field.scalar),
          ];
        });
        // Not by assignment: a key called __proto__ must arrive at the server, which refuses it.
        return Object.fromEntries(entries);
      }
    }
  }

  /** The error for a key that means nothing there, with the nearest one that does. */
  unknownKey(at: Pick<ManifestNode, 'node'>, key: string, known: readonly string[]): CliError {
    const closest = closestWord(key, known);
    return this.#source.error(
      at,
      `unknown key "${key}"${closest === undefined ? '' : `; did you mean "${closest}"?`}`,
      `Known here: ${[...known].sort().join(', ')}.`,
    );
  }

  #scalar(at: ManifestNode, type: ScalarType): JsonValue {
    const value = this.#source.scalar(at);
    switch (type) {
      case ScalarType.STRING:
      case ScalarType.BYTES:
        if (typeof value === 'string') return value;
        throw this.#source.error(at, `this must be text${value === undefined ? '' : `: write "${value}"`}`);
      case ScalarType.BOOL:
        if (typeof value === 'boolean') return value;
        throw this.#source.error(at, 'this must be true or false');
      default:
        if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
        // Proto JSON writes 64-bit numbers as text.
        if (typeof value === 'string' && /^-?\d{1,19}$/.test(value)) return value;
        throw this.#source.error(at, 'this must be a whole number');
    }
  }

  #enum(at: ManifestNode, desc: DescEnum): JsonValue {
    const value = this.#source.scalar(at);
    const words = desc.values.filter((known) => known.number !== 0).map((known) => known.localName);
    if (typeof value === 'string') {
      const wanted = value.toUpperCase().replaceAll('-', '_');
      const found = desc.values.find((known) => known.name === wanted || known.localName === wanted);
      if (found !== undefined) return found.name;
    }
    throw this.#source.error(at, `this must be one of ${words.join(', ')}`);
  }

  #duration(at: ManifestNode): JsonValue {
    const value = this.#source.scalar(at);
    const milliseconds = typeof value === 'string' ? parseDuration(value) : undefined;
    if (milliseconds === undefined) {
      throw this.#source.error(at, 'this must be a duration with its unit, such as 30s, 90m, 1h30m or 2d');
    }
    return `${milliseconds / 1_000}s`;
  }

  #timestamp(at: ManifestNode): JsonValue {
    const value = this.#source.scalar(at);
    if (typeof value === 'string' && parseRfc3339(value) !== undefined) return value;
    throw this.#source.error(at, 'this must be a time with its offset, such as 2026-03-29T09:00:00Z');
  }

  #struct(at: ManifestNode): JsonValue {
    this.#source.pairs(at, 'this');
    return this.#json(at);
  }

  /** Any value that JSON has. YAML knows more (`.nan`, tags), and those are refused where they stand. */
  #json(at: ManifestNode): JsonValue {
    const plain = this.#source.plain(at);
    if (!isJson(plain)) throw this.#source.error(at, 'this holds a value that JSON does not have');
    return plain;
  }
}

function fieldOf(desc: DescMessage, key: string): DescField | undefined {
  return desc.fields.find((field) => field.jsonName === key || field.name === key);
}

function isJson(value: unknown): value is JsonValue {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value);
    case 'object':
      if (value === null) return true;
      if (Array.isArray(value)) return value.every(isJson);
      return Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every(isJson);
    default:
      return false;
  }
}
