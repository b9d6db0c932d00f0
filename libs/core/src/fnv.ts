const OFFSET_BASIS = 0x811c9dc5;
const PRIME = 0x01000193;
const encoder = new TextEncoder();

/** FNV-1a, 32 bits, over the UTF-8 of a text: for spreading and for noticing accidents, not against forgery. */
export function fnv1a32(text: string): number {
  let value = OFFSET_BASIS;
  for (const byte of encoder.encode(text)) value = Math.imul(value ^ byte, PRIME);
  return value >>> 0;
}
