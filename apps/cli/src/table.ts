import { displayWidth, pad, truncate } from './display-text.ts';
import type { Style } from './style.ts';

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  /** The cell's text, unstyled and printable. */
  readonly cell: (row: Row) => string;
  /** Styles the cell after it was cut and filled. */
  readonly paint?: (text: string, row: Row) => string;
  /** Default: left. */
  readonly align?: 'left' | 'right';
  /** May be cut when the table is too wide; the widest of these is cut first. Default: false. */
  readonly flexible?: boolean;
}

/** How to lay a table out. */
export interface TableOptions {
  readonly style: Style;
  /** The width to keep to; undefined: as wide as it gets, as for a pipe. */
  readonly columns: number | undefined;
}

const GAP = '  ';
const NARROWEST = 8;

/** The lines of a table with aligned columns, its header first. No rows: no lines. */
export function tableLines<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  { style, columns: limit }: TableOptions,
): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = columns.map((column, index) =>
    Math.max(displayWidth(column.title), ...cells.map((line) => displayWidth(line[index] ?? ''))),
  );
  if (limit !== undefined) shrink(columns, widths, limit);

  const line = (texts: readonly string[], paint: (text: string, index: number) => string): string =>
    texts
      .map((text, index) => {
        const width = widths[index] ?? 0;
        const last = index === texts.length - 1;
        const cut = truncate(text, width);
        return paint(
          last && columns[index]?.align !== 'right' ? cut : pad(cut, width, columns[index]?.align),
          index,
        );
      })
      .join(GAP)
      .trimEnd();

  const header = line(
    columns.map((column) => column.title),
    (text) => style.faint(text),
  );
  const body = rows.map((row, at) =>
    line(cells[at] ?? [], (text, index) => columns[index]?.paint?.(text, row) ?? text),
  );
  return [header, ...body];
}

/** Takes width from the widest flexible column until the table fits, or nothing flexible is left to take from. */
function shrink<Row>(columns: readonly Column<Row>[], widths: number[], limit: number): void {
  let excess = widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1) - limit;
  while (excess > 0) {
    let widest = -1;
    for (const [index, column] of columns.entries()) {
      const width = widths[index] ?? 0;
      if (column.flexible && width > NARROWEST && width > (widths[widest] ?? 0)) widest = index;
    }
    if (widest === -1) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess -= 1;
  }
}
