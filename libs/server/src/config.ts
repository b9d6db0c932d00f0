import { inspect } from 'node:util';

/** A value that prints as `[secret]` however it is logged; {@link Secret.reveal} is the only way to it. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself, for the one call that needs it. */
  reveal(): string {
    return this.#value;
  }

  /** Never the value. */
  toString(): string {
    return '[secret]';
  }

  /** Never the value. */
  toJSON(): string {
    return '[secret]';
  }

  /** Never the value. */
  [inspect.custom](): string {
    return '[secret]';
  }
}

/** One variable: how it is called, read and documented. Made by the functions of this file. */
export interface Setting<T> {
  /** The environment variable. */
  readonly variable: string;
  /** What it accepts, as in `integer, 1 to 65535`. */
  readonly accepts: string;
  /** What it is for, as a sentence. */
  readonly description: string;
  /** The default as it would be written in the environment; none when the variable is required. */
  readonly fallback: string | undefined;
  /** When true an unset variable is `undefined` instead of a fault. */
  readonly optional: boolean;
  /** When true its value is never printed, in faults neither. */
  readonly secret: boolean;
  /** The typed value, or throws an Error whose message completes "VARIABLE …". */
  readonly parse: (text: string) => T;
}

/** Settings by the name the program knows them by, with units in the names: `{ leaseTtlMs: integer(…) }`. */
export type ConfigSchema = Readonly<Record<string, Setting<unknown>>>;

/** What {@link readConfig} gives for a schema. */
export type Config<S extends ConfigSchema> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never;
};

/** Every fault of the configuration at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** One sentence per faulty variable, in the order of the schema. */
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`configuration is not usable:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.faults = faults;
  }
}

/**
 * Reads a whole configuration from the environment. An empty variable counts as unset.
 *
 * @throws {ConfigError} with every fault, when there is any.
 */
export function readConfig<S extends ConfigSchema>(
  environment: Readonly<Record<string, string | undefined>>,
  schema: S,
): Config<S> {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(schema)) {
    const given = environment[setting.variable];
    const text = given === undefined || given === '' ? setting.fallback : given;
    if (text === undefined) {
      if (!setting.optional) faults.push(`${setting.variable} is required: ${setting.description}`);
      continue;
    }
    try {
      values[key] = setting.parse(text);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      faults.push(
        `${setting.variable} ${problem}${setting.secret ? '' : `, not ${JSON.stringify(withoutCredentials(text))}`}`,
      );
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return values as Config<S>;
}

function withoutCredentials(text: string): string {
  return text.replace(/\/\/[^/@]*@/, '//[secret]@');
}

/** The table that `--help` prints: one line per variable with its form, default and purpose. */
export function describeConfig(schema: ConfigSchema): string {
  const rows = Object.values(schema).map((setting) => [
    setting.variable,
    setting.accepts,
    setting.fallback ?? (setting.optional ? '(unset)' : '(required)'),
    setting.description,
  ]);
  rows.unshift(['VARIABLE', 'ACCEPTS', 'DEFAULT', 'PURPOSE']);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What every setting may say of itself. Without `default` the variable is required. */
export interface SettingOptions<T> {
  readonly description: string;
  readonly default?: T;
}

/** Any text. */
export function text(variable: string, options: SettingOptions<string>): Setting<string> {
  return setting(variable, 'text', options, (value) => value);
}

/** A whole number between `min` (default 0) and `max` (default 2^31-1). */
export function integer(
  variable: string,
  options: SettingOptions<number> & { readonly min?: number; readonly max?: number },
): Setting<number> {
  const { min = 0, max = 2_147_483_647 } = options;
  const accepts = `integer, ${min} to ${max}`;
  return setting(variable, accepts, options, (value) => {
    const parsed = /^[+-]?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(parsed >= min && parsed <= max)) throw new Error(`must be an ${accepts}`);
    return parsed;
  });
}

/** A decimal number between `min` and `max`, both included. */
export function decimal(
  variable: string,
  options: SettingOptions<number> & { readonly min: number; readonly max: number },
): Setting<number> {
  const accepts = `number, ${options.min} to ${options.max}`;
  return setting(variable, accepts, options, (value) => {
    const parsed = /^[+-]?\d{1,15}(\.\d{1,15})?$/.test(value) ? Number(value) : Number.NaN;
    if (!(parsed >= options.min && parsed <= options.max)) throw new Error(`must be a ${accepts}`);
    return parsed;
  });
}

/** A TCP port; 0 lets the system choose a free one. */
export function port(variable: string, options: SettingOptions<number>): Setting<number> {
  return integer(variable, { ...options, min: 0, max: 65_535 });
}

/** `true` or `false`. */
export function flag(variable: string, options: SettingOptions<boolean>): Setting<boolean> {
  return setting(variable, 'true or false', options, (value) => {
    if (value !== 'true' && value !== 'false') throw new Error('must be true or false');
    return value === 'true';
  });
}

/** One of a few words. */
export function oneOf<const T extends string>(
  variable: string,
  words: readonly T[],
  options: SettingOptions<T>,
): Setting<T> {
  return setting(variable, words.join(' | '), options, (value) => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw new Error(`must be one of ${words.join(', ')}`);
    return word;
  });
}

/** Words separated by commas; blanks around them and empty ones are dropped. */
export function list(
  variable: string,
  options: SettingOptions<readonly string[]>,
): Setting<readonly string[]> {
  const { default: fallback, ...rest } = options;
  const asText = fallback === undefined ? rest : { ...rest, default: fallback.join(',') };
  return setting<readonly string[], string>(variable, 'list, separated by commas', asText, (value) =>
    value
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== ''),
  );
}

/** An absolute URL of one of the schemes (default `http:` and `https:`), without credentials in it. */
export function url(
  variable: string,
  options: SettingOptions<string> & { readonly schemes?: readonly string[] },
): Setting<string> {
  const schemes = options.schemes ?? ['http:', 'https:'];
  return setting(variable, `URL (${schemes.join(' ')})`, options, (value) => {
    const parsed = URL.canParse(value) ? new URL(value) : undefined;
    if (parsed === undefined || !schemes.includes(parsed.protocol)) {
      throw new Error(`must be a URL with scheme ${schemes.join(' or ')}`);
    }
    if (parsed.username !== '' || parsed.password !== '') throw new Error('must not carry credentials');
    return value;
  });
}

/** A value that is never printed: database URLs, keys. Always required, unless wrapped by {@link optional}. */
export function secret(variable: string, options: { readonly description: string }): Setting<Secret> {
  return {
    variable,
    accepts: 'secret',
    description: options.description,
    fallback: undefined,
    optional: false,
    secret: true,
    parse: (value) => new Secret(value),
  };
}

/** The same setting, but `undefined` when the variable is not set. */
export function optional<T>(inner: Setting<T>): Setting<T | undefined> {
  return { ...inner, fallback: undefined, optional: true };
}

function setting<T, D = T>(
  variable: string,
  accepts: string,
  options: SettingOptions<D>,
  parse: (value: string) => T,
): Setting<T> {
  return {
    variable,
    accepts,
    description: options.description,
    fallback: options.default === undefined ? undefined : String(options.default),
    optional: false,
    secret: false,
    parse,
  };
}
