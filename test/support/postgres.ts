// Integration and e2e tests look for it here. It stands in libs/db, whose own tests cannot import from here.
export { type TestDatabase, useDatabase } from '@carillon/db/test/database.ts';
