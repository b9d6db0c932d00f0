export { type DevState, devFilePath, readDevState } from './dev/dev-file.ts';
export { ExitCode } from './exit-code.ts';
export type { Host, Output } from './host.ts';
export { runProgram } from './program.ts';
