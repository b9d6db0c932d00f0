import { printable } from '../display-text.ts';
import type { Column } from '../table.ts';

/** The column of local times; none when all of them say the same as the column of UTC. */
export function localColumn<Row extends { readonly localTime: string }>(
  rows: readonly Row[],
): readonly Column<Row>[] {
  if (rows.every(({ localTime }) => localTime.endsWith('+00:00'))) return [];
  return [{ title: 'LOCAL', cell: ({ localTime }) => printable(localTime) }];
}
