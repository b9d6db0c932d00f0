import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate } from '@carillon/db';
import { administer, withDatabase } from '@carillon/db/test/database.ts';
import { systemClock, systemEntropy } from '@carillon/db/test/system-clock.ts';
import { removeAbandonedServers, startEmbeddedPostgres } from '@carillon/embedded-postgres';
import type { TestProject } from 'vitest/node';

const FOLDER_PREFIX = 'carillon-test-postgres-';

/**
 * Vitest's global set-up: one server for all files of a project (that of `DATABASE_URL` when it is set), and on it one
 * migrated database that each test file gets a copy of.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await findServer(project.name);
  const template = `carillon_template_${systemEntropy.uuid().replaceAll('-', '')}`;
  try {
    await administer(server.adminUrl, `create database ${template}`);
    await migrate({
      url: withDatabase(server.adminUrl, template),
      clock: systemClock,
      entropy: systemEntropy,
      log: console.log,
    });
  } catch (error) {
    await server.release();
    throw error;
  }
  project.provide('postgres', { adminUrl: server.adminUrl, template });
  return async () => {
    await administer(server.adminUrl, `drop database if exists ${template} with (force)`);
    await server.release();
  };
}

interface Server {
  readonly adminUrl: string;
  release(): Promise<void>;
}

async function findServer(project: string): Promise<Server> {
  const given = process.env.DATABASE_URL;
  if (given) return { adminUrl: given, release: async () => undefined };
  const options = { clock: systemClock, log: console.log };
  await removeAbandonedServers(tmpdir(), FOLDER_PREFIX, options);
  // A run of several projects sets up each of them, in one process.
  const dataDir = join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-${project}`);
  const server = await startEmbeddedPostgres({ ...options, dataDir, durable: false });
  return {
    adminUrl: server.url,
    release: async () => {
      await server.stop();
      await rm(server.dataDir, { recursive: true, force: true });
    },
  };
}
