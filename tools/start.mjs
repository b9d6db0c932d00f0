// `npm start`: installs what is missing, then `carillon dev` with the same arguments.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import process from 'node:process';
import { environment, install, node24, root } from './workspace.mjs';

const child = await launch();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  let passedOn = false;
  process.on(signal, () => {
    // Ctrl-C in a terminal reaches the child by itself; a second one would end it at once.
    if (passedOn || (signal === 'SIGINT' && process.stdin.isTTY)) return;
    passedOn = true;
    child.kill(signal);
  });
}
child.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
child.on('exit', (code, signal) => {
  if (signal !== null) {
    // It was killed, and could not give back the screen it had taken: show the cursor, leave the alternate screen.
    if (process.stdout.isTTY) process.stdout.write('\u001b[?25h\u001b[?1049l');
    console.error(`carillon dev was ended by ${signal}; the next start goes on from here`);
  }
  process.exit(code ?? 128 + constants.signals[signal]);
});

async function launch() {
  try {
    await install();
    return spawn(node24(), ['apps/cli/src/main.ts', 'dev', ...process.argv.slice(2)], {
      cwd: root,
      env: environment(),
      stdio: 'inherit',
    });
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
