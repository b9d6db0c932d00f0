import { describe, expect, it } from 'vitest';
import { DomainError } from './domain-error.ts';
import { decodePageToken, effectivePageSize, encodePageToken } from './page-token.ts';

const REQUEST = ['projects/p/domains/d', 'state = ACTIVE', '', false] as const;
const SHAPE = ['text', 'integer'] as const;

function violation(token: string, request: readonly (string | boolean)[] = REQUEST): string {
  try {
    decodePageToken(token, request, SHAPE);
  } catch (error) {
    if (error instanceof DomainError && error.fault.kind === 'INVALID_ARGUMENT') {
      expect(error.fault.violations[0]?.field).toBe('page_token');
      return error.fault.violations[0]?.description ?? '';
    }
    throw error;
  }
  return 'accepted';
}

const asToken = (text: string): string => Buffer.from(text, 'utf8').toString('base64url');

describe('page tokens', () => {
  it('come back as they went', () => {
    const token = encodePageToken(['näme-𝄞', 1_732_194_671_123_456], REQUEST);
    expect(token).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(decodePageToken(token, REQUEST, SHAPE)).toEqual(['näme-𝄞', 1_732_194_671_123_456]);
  });

  it('are empty on the first page', () => {
    expect(decodePageToken('', REQUEST, SHAPE)).toBeUndefined();
  });

  it('belong to one request', () => {
    const token = encodePageToken(['n', 1], REQUEST);
    expect(violation(token, ['projects/p/domains/d', 'state = PAUSED', '', false])).toContain(
      'another request',
    );
    expect(violation(token, ['projects/p/domains/d', 'state = ACTIVE', '', true])).toContain(
      'another request',
    );
  });

  it.each([
    'x',
    '!!!',
    'a b',
    asToken('nonsense'),
    asToken('{"a":1}'),
    asToken('[]'),
    asToken('null'),
    Buffer.from([0xff, 0xfe]).toString('base64url'),
    encodePageToken(['n'], REQUEST),
    encodePageToken(['n', 1, 2], REQUEST),
    encodePageToken([1, 'n'], REQUEST),
    encodePageToken(['n', 1.5], REQUEST),
    encodePageToken(['n', 1e300], REQUEST),
    encodePageToken(['n\u0000', 1], REQUEST),
    asToken('[1,"\\ud800",1]'),
  ])('refuse %j', (token) => {
    expect(violation(token)).toContain('not a token that this method returned');
  });

  it('cap the page', () => {
    expect([0, 1, 1000, 1001, 2_147_483_647].map(effectivePageSize)).toEqual([50, 1, 1000, 1000, 1000]);
  });
});
