import { hash } from 'node:crypto';

/** Why a run exists; part of its name. */
export type RunNameKind = 'slot' | 'backfill' | 'trigger';

/** What a run's name is a function of: never the revision nor the task, so that an edit cannot fire a slot twice. */
export interface RunNameParts {
  readonly project: string;
  readonly domain: string;
  /** The schedule's id: the last segment of its resource name. */
  readonly schedule: string;
  /** The slot's nominal time in whole epoch seconds. */
  readonly nominalSec: number;
  readonly kind: RunNameKind;
  /** The backfill's or trigger's id; empty for a slot. */
  readonly id: string;
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const NAME_BITS = 130;

/** `YYYY-MM-DDTHH:MM:SSZ` of whole epoch seconds. */
export function formatInstant(epochSec: number): string {
  return `${new Date(epochSec * 1000).toISOString().slice(0, 19)}Z`;
}

/**
 * `"r"` and the first 130 bits of a SHA-256 in lower-case base32 (RFC 4648): 27 characters, a DNS-1035 label.
 * Each field goes in as a big-endian 32-bit byte length and UTF-8, so no two lists of fields share an encoding.
 */
export function runName(parts: RunNameParts): string {
  const fields = [
    'carillon/1',
    parts.project,
    parts.domain,
    parts.schedule,
    formatInstant(parts.nominalSec),
    parts.kind,
    parts.id,
  ];
  const message = Buffer.allocUnsafe(
    fields.reduce((size, field) => size + 4 + Buffer.byteLength(field, 'utf8'), 0),
  );
  let offset = 0;
  for (const field of fields) {
    const length = message.write(field, offset + 4, 'utf8');
    offset = message.writeUInt32BE(length, offset) + length;
  }
  const digest = hash('sha256', message, 'buffer');
  let name = 'r';
  for (let bit = 0; bit < NAME_BITS; bit += 5) {
    const word = (digest[bit >> 3]! << 8) | digest[(bit >> 3) + 1]!;
    name += ALPHABET[(word >> (11 - (bit & 7))) & 31];
  }
  return name;
}

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;
const MASK_64 = (1n << 64n) - 1n;

/**
 * The name that Flyte 2's scheduler gives the run of a slot: `"r"` and the unpadded hexadecimal FNV-1 64 over
 * `project:domain:task:name:Y:M:D:h:m:s` in UTC. With it, both schedulers side by side create no duplicates.
 */
export function flyteRunName(parts: Omit<RunNameParts, 'kind' | 'id'> & { readonly task: string }): string {
  const at = new Date(parts.nominalSec * 1000);
  const key = [
    parts.project,
    parts.domain,
    parts.task,
    parts.schedule,
    at.getUTCFullYear(),
    at.getUTCMonth() + 1,
    at.getUTCDate(),
    at.getUTCHours(),
    at.getUTCMinutes(),
    at.getUTCSeconds(),
  ].join(':');
  let value = FNV_OFFSET;
  for (const byte of Buffer.from(key, 'utf8')) value = ((value * FNV_PRIME) & MASK_64) ^ BigInt(byte);
  return `r${value.toString(16)}`;
}
