import { type AddressInfo, createServer, type Server, Socket } from 'node:net';

/** A relay on the loopback whose traffic a test can disturb. */
export class TcpProxy {
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #frozen = false;
  #refusing = false;

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true }, (near) => this.#relay(near));
  }

  /** Starts one before the server of a URL. */
  static async start(url: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(url);
    const proxy = new TcpProxy({ host: hostname, port: Number(port || 5432) });
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Open connections. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** The URL, by way of this proxy. */
  through(url: string): string {
    const other = new URL(url);
    other.hostname = '127.0.0.1';
    other.port = String(this.port);
    return other.toString();
  }

  /** Goes silent: connections, also new ones, stay open and nothing comes through; half open, or a black hole. */
  freeze(): void {
    this.#frozen = true;
    for (const [near, far] of this.#pairs) {
      near.unpipe().pause();
      far.unpipe().pause();
    }
  }

  /** Lets new connections through again; what was silent stays so, as after a lost machine. */
  thaw(): void {
    this.#frozen = false;
  }

  /** Resets all connections. */
  reset(): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** Resets whoever connects from now on, or no longer does. */
  refuse(refusing = true): void {
    this.#refusing = refusing;
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #relay(near: Socket): void {
    if (this.#refusing) {
      near.resetAndDestroy();
      return;
    }
    const far = new Socket({ allowHalfOpen: true });
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    near.pipe(far);
    far.pipe(near);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.setNoDelay(true);
      // A reset on one side is passed on to the other.
      socket.on('error', () => other.resetAndDestroy());
      socket.on('close', () => {
        this.#pairs.delete(pair);
        if (!other.destroyed && !this.#frozen) other.destroy();
      });
    }
    if (this.#frozen) {
      near.unpipe().pause();
    } else {
      far.connect(this.#target.port, this.#target.host);
    }
  }
}
