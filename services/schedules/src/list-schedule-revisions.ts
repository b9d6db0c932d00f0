import { decodePageToken, effectivePageSize, encodePageToken } from '@carillon/core/page-token.ts';
import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { MAX_PAGE_BYTES } from './page-bytes.ts';
import { revisionMessage } from './schedule-message.ts';
import type { MethodContext, ScheduleMethod } from './schedule-method.ts';

/** Lists the revisions of a schedule, the newest first. */
export function listScheduleRevisions({ store }: MethodContext): ScheduleMethod<'listScheduleRevisions'> {
  return async ({ name: text, pageSize, pageToken }) => {
    const name = parseScheduleName(text);
    const place = decodePageToken(pageToken, [text], ['integer']);
    const { revisions, more } = await store.revisions(name, {
      below: place?.[0],
      limit: effectivePageSize(pageSize),
      maxBytes: MAX_PAGE_BYTES,
    });
    const last = revisions.at(-1);
    return {
      revisions: revisions.map((row) => revisionMessage(name, row)),
      nextPageToken: more && last !== undefined ? encodePageToken([last.revision], [text]) : '',
    };
  };
}
