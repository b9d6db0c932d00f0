import { join } from 'node:path';
import { DatabaseServer, type DatabaseServerOptions } from '../support/database-server.ts';
import { FakeTime } from '../support/fake-time.ts';
import { oldVersion } from '../support/old-version.ts';
import { ReplicatedDatabase } from '../support/replicated-database.ts';
import { SmallDisk } from '../support/small-disk.ts';
import type { ScenarioOptions } from './fault.ts';

/** What a system under test stands on: the database's server, and what is special about it. */
export class Ground {
  readonly disk: SmallDisk | undefined;
  readonly time: FakeTime | undefined;
  /** The folder of the old version that everything begins with; undefined: with this one. */
  oldVersion: string | undefined;
  #database: DatabaseServer | ReplicatedDatabase | undefined;

  private constructor({ diskMb, fakeTime }: ScenarioOptions) {
    this.time = fakeTime ? FakeTime.start() : undefined;
    this.disk = diskMb === undefined ? undefined : SmallDisk.mount(diskMb);
  }

  /** Makes it, and starts the server. */
  static async prepare(options: ScenarioOptions): Promise<Ground> {
    const ground = new Ground(options);
    try {
      if (options.old) ground.oldVersion = await oldVersion();
      ground.#database = options.standby
        ? await ReplicatedDatabase.start()
        : await DatabaseServer.start(ground.#serverOptions());
      return ground;
    } catch (error) {
      await ground.remove();
      throw error;
    }
  }

  /** Where clients find the database. */
  get url(): string {
    return this.#started().url;
  }

  /** The server that takes writes. */
  get server(): DatabaseServer {
    const database = this.#started();
    return database instanceof ReplicatedDatabase ? database.primary : database;
  }

  /** The database with its standby, if it has one. */
  get replicated(): ReplicatedDatabase | undefined {
    return this.#database instanceof ReplicatedDatabase ? this.#database : undefined;
  }

  async remove(): Promise<void> {
    await this.#database?.remove();
    this.disk?.unmount();
    this.time?.remove();
  }

  #started(): DatabaseServer | ReplicatedDatabase {
    if (this.#database === undefined) throw new Error('the database was not started');
    return this.#database;
  }

  #serverOptions(): DatabaseServerOptions {
    return {
      migrated: this.oldVersion === undefined,
      environment: this.time?.environment ?? {},
      // On a small disk its journal must leave room for the data.
      ...(this.disk && {
        folder: join(this.disk.folder, 'postgres'),
        settings: { max_wal_size: '64MB', min_wal_size: '32MB' },
      }),
    };
  }
}
