const encoder = new TextEncoder();

/**
 * A 32-bit hash of a schedule's identity and a purpose: FNV-1a over the UTF-8 of `identity`, a line feed and
 * `purpose`, finished with MurmurHash3's mixer, since FNV alone leaves the high bits of short names close together.
 * It is part of what users see (`H`, jitter), so it never changes; docs/recurrence.md states it with examples.
 */
export function identityHash(identity: string, purpose: string): number {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(`${identity}\n${purpose}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  return mixHash(hash);
}

/** MurmurHash3's 32-bit finaliser: every input bit changes each output bit with a probability of one half. */
export function mixHash(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
