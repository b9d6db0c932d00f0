import { previewBatchLine } from '@carillon/core/recurrence-batch.ts';
import type { Host } from '../host.ts';

/** Answers each line of standard input with a line on standard output, as they come. Blank lines are left out. */
export async function previewBatch(host: Pick<Host, 'stdin' | 'stdout' | 'interrupted'>): Promise<void> {
  let rest = '';
  for await (const piece of host.stdin) {
    if (host.interrupted.aborted) return;
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    answer(host, lines);
  }
  answer(host, [rest]);
}

function answer({ stdout }: Pick<Host, 'stdout'>, lines: readonly string[]): void {
  const answers = lines.filter((line) => line.trim() !== '').map((line) => `${previewBatchLine(line)}\n`);
  if (answers.length > 0) stdout.write(answers.join(''));
}
