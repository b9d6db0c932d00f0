import { TcpProxy } from '@carillon/db/test/tcp-proxy.ts';
import { DatabaseServer } from './database-server.ts';

/** A database with an asynchronous standby, which can lose commits; its clients' address outlives a promotion. */
export class ReplicatedDatabase {
  /** Where its clients find it, whoever is the primary. */
  readonly url: string;
  readonly #front: TcpProxy;
  #primary: DatabaseServer;
  #follower: { readonly server: DatabaseServer; readonly line: TcpProxy } | undefined;

  private constructor(primary: DatabaseServer, front: TcpProxy) {
    this.#primary = primary;
    this.#front = front;
    this.url = front.through(primary.url);
  }

  /** Starts it, with a standby that follows. */
  static async start(): Promise<ReplicatedDatabase> {
    // Enough of the log for a standby that begins with an older checkpoint.
    const primary = await DatabaseServer.start({ settings: { wal_keep_size: '512MB' } });
    const database = new ReplicatedDatabase(primary, await TcpProxy.start(primary.url));
    try {
      await database.addStandby();
      return database;
    } catch (error) {
      await database.remove();
      throw error;
    }
  }

  /** The server that takes writes. */
  get primary(): DatabaseServer {
    return this.#primary;
  }

  /** Gives the primary a new standby. */
  async addStandby(): Promise<void> {
    const line = await TcpProxy.start(this.#primary.url);
    try {
      const server = await DatabaseServer.startStandby(this.#primary, line.through(this.#primary.url));
      this.#follower = { server, line };
    } catch (error) {
      await line.close();
      throw error;
    }
  }

  /** From now on the standby hears nothing of what is committed. */
  cut(): void {
    this.#follower?.line.freeze();
  }

  /** The primary is gone for good; the standby takes its place as it is. */
  async failOver(): Promise<void> {
    const [lost, follower] = [this.#primary, this.#follower];
    if (follower === undefined) throw new Error('there is no standby');
    await lost.kill();
    await follower.server.promote();
    this.#primary = follower.server;
    this.#follower = undefined;
    this.#front.retarget(follower.server.url);
    this.#front.reset();
    await follower.line.close();
    await lost.remove();
  }

  async remove(): Promise<void> {
    await this.#front.close();
    await this.#follower?.line.close();
    await this.#follower?.server.remove();
    await this.#primary.remove();
  }
}
