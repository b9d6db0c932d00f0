// Who may import whom. Dependencies point one way: services and apps → server, db, worker → gen, core → nothing.
// tools/check-dependencies.mjs reads this, and looks for cycles and undeclared packages by itself.

// Tests and what is made for them may import more than the code beside them, but never against the grain.
const TEST = '([.-](under-)?test\\.ts$|/src/test/)';

/** Files of `from` may import files of ours in `to` only. */
function only(name, from, to) {
  return {
    name,
    severity: 'error',
    from: { path: from },
    to: { path: '^(libs|services|apps|test|bench)/', pathNot: to },
  };
}

module.exports = {
  forbidden: [
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'core-is-pure',
      comment: 'The planner has no I/O and no packages. A hash is as pure as a sum.',
      severity: 'error',
      from: { path: '^libs/core/src/', pathNot: TEST },
      to: { pathNot: '^(libs/core/|crypto$)' },
    },
    only('core-imports-nothing', '^libs/core/', '^libs/core/'),
    only('gen-imports-nothing', '^libs/gen/', '^libs/gen/'),
    only('db-imports-core', '^libs/db/', '^libs/(db|core)/'),
    only('embedded-postgres-imports-core', '^libs/embedded-postgres/', '^libs/(embedded-postgres|core)/'),
    only('server-imports-core-and-gen', '^libs/server/', '^libs/(server|core|gen)/'),
    only('worker-imports-core-gen-and-server', '^libs/worker/', '^libs/(worker|core|gen|server)/'),
    only(
      'services-import-libs-and-themselves',
      '^services/([^/]+)/',
      '^(libs/(core|gen|db|server|worker)|services/$1)/',
    ),
    only(
      'apps-import-libs-and-themselves',
      '^apps/([^/]+)/',
      '^(libs/(core|gen|db|server|worker|embedded-postgres)|apps/$1)/',
    ),
    {
      name: 'no-test-code-in-production',
      severity: 'error',
      from: { path: '^(libs|services|apps)/', pathNot: TEST },
      to: { path: TEST },
    },
  ],
  options: {
    // dependency-cruiser knows TypeScript below 7 only, and without this finds no module at all.
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^([^/]+/[^/]+/dist|\\.build)/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.mjs', '.js', '.json'],
    },
    combinedDependencies: false,
    skipAnalysisNotInRules: true,
  },
};
