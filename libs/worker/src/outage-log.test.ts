import { createLogger } from '@carillon/server';
import { Code, ConnectError } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { OutageLog } from './outage-log.ts';

function outageLog() {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  const logger = createLogger({ service: 'worker', instance: 'w', destination });
  return { outage: new OutageLog(logger), lines };
}

const refused = new ConnectError('connect ECONNREFUSED 127.0.0.1:7703', Code.Unavailable);

test('an outage is one line, without a stack, and its end another', () => {
  const { outage, lines } = outageLog();
  for (let n = 0; n < 5; n++) outage.failed(refused);
  expect(outage.failures).toBe(5);
  outage.reached();
  outage.reached();
  expect(lines).toMatchObject([
    {
      level: 'warn',
      cause: 'connect ECONNREFUSED 127.0.0.1:7703',
      msg: expect.stringContaining('out of reach'),
    },
    { level: 'info', failures: 5, msg: expect.stringContaining('in reach') },
  ]);
  expect(JSON.stringify(lines)).not.toContain('stack');
  outage.succeeded();
  expect(outage.failures).toBe(0);
  outage.failed(refused);
  expect(lines).toHaveLength(3);
});

test('anything else is told each time, in full', () => {
  const { outage, lines } = outageLog();
  outage.failed(new ConnectError('who are you?', Code.Unauthenticated));
  outage.failed(new Error('no lease time'));
  expect(lines).toMatchObject([
    { level: 'warn', failures: 1, err: { message: expect.stringContaining('who are you?') } },
    { level: 'warn', failures: 2, err: { stack: expect.stringContaining('no lease time') } },
  ]);
  outage.reached();
  expect(lines).toHaveLength(2);
});
