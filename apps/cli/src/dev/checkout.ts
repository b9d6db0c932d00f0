import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout that this file belongs to. */
export const CHECKOUT = fileURLToPath(new URL('../../../../', import.meta.url)).replace(/\/$/, '');

/** A path inside the checkout. */
export function inCheckout(...segments: readonly string[]): string {
  return join(CHECKOUT, ...segments);
}
