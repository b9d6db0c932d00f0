import { invalidArgument } from './domain-error.ts';
import { fnv1a32 } from './fnv.ts';

/** What a cursor is made of: a text, or a whole number that a double holds exactly. */
export type CursorPart = 'text' | 'integer';

/** The values of a cursor of a given shape. */
export type Cursor<Shape extends readonly CursorPart[]> = {
  readonly [K in keyof Shape]: Shape[K] extends 'text' ? string : number;
};

/** What a page token belongs to, apart from the position: the request's other fields, as plain values in a fixed order. */
export type PagedRequest = readonly (string | number | boolean)[];

/** The most items of a page. A larger `page_size` is taken as this. */
export const MAX_PAGE_SIZE = 1000;

/** The items of a page when `page_size` is 0. */
export const DEFAULT_PAGE_SIZE = 50;

/** The number of items to return for a `page_size`, which is not negative. */
export function effectivePageSize(pageSize: number): number {
  return pageSize === 0 ? DEFAULT_PAGE_SIZE : Math.min(pageSize, MAX_PAGE_SIZE);
}

/**
 * An opaque page token: where the next page begins, and a hash of the request it belongs to. It holds no secret and is not
 * signed: whoever makes one up sees the pages of a list that he may read anyway.
 */
export function encodePageToken(cursor: readonly (string | number)[], request: PagedRequest): string {
  return toBase64Url(JSON.stringify([requestHash(request), ...cursor]));
}

/**
 * The cursor of a page token, or `undefined` for the empty token, which is the first page's.
 *
 * @throws {DomainError} INVALID_ARGUMENT at `page_token`, when it is malformed or belongs to another request.
 */
export function decodePageToken<const Shape extends readonly CursorPart[]>(
  token: string,
  request: PagedRequest,
  shape: Shape,
): Cursor<Shape> | undefined {
  if (token === '') return undefined;
  const parts = parse(token);
  if (parts === undefined || parts.length !== shape.length + 1)
    throw refused('is not a token that this method returned');
  const [hash, ...cursor] = parts;
  if (!cursor.every((value, index) => fits(value, shape[index])))
    throw refused('is not a token that this method returned');
  if (hash !== requestHash(request)) {
    throw refused('belongs to another request: all other fields must stay as they were');
  }
  return cursor as Cursor<Shape>;
}

function requestHash(request: PagedRequest): number {
  return fnv1a32(JSON.stringify(request));
}

function fits(value: unknown, part: CursorPart | undefined): boolean {
  if (part === 'integer') return Number.isSafeInteger(value);
  // PostgreSQL's text holds neither NUL nor half a surrogate pair.
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\u0000');
}

function parse(token: string): readonly unknown[] | undefined {
  if (!/^[A-Za-z0-9_-]+$/.test(token)) return undefined;
  try {
    const value: unknown = JSON.parse(fromBase64Url(token));
    return Array.isArray(value) ? value : undefined;
  } catch (error) {
    // What is neither base64url nor UTF-8 nor JSON is malformed; anything else is a defect.
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof DOMException)
      return undefined;
    throw error;
  }
}

function toBase64Url(text: string): string {
  const binary = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function fromBase64Url(text: string): string {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return new TextDecoder('utf-8', { fatal: true }).decode(
    Uint8Array.from(binary, (character) => character.charCodeAt(0)),
  );
}

function refused(description: string): Error {
  return invalidArgument({ field: 'page_token', description, reason: 'PAGE_TOKEN' });
}
