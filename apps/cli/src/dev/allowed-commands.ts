/** What the worker of `carillon dev` may run: harmless commands that every system has, for the examples. */
export const ALLOWED_COMMANDS: readonly string[] = ['/bin/date', '/bin/df', '/bin/echo', '/bin/sleep'];
