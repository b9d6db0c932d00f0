import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** At a start, a log above this size becomes `NAME.log.1`, and the one before that goes. */
const LARGEST_BYTES = 16 * 1024 * 1024;

/** Opens a process's log in the folder, to be appended to. */
export async function openLogFile(folder: string, name: string): Promise<WriteStream> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${name}.log`);
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined && found.size > LARGEST_BYTES) {
    await rm(`${path}.1`, { force: true });
    await rename(path, `${path}.1`);
  }
  return createWriteStream(path, { flags: 'a', mode: 0o600 });
}
