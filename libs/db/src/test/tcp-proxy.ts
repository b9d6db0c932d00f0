import { type AddressInfo, createServer, type Server, Socket } from 'node:net';

interface Target {
  readonly host: string;
  readonly port: number;
}

/** A relay on the loopback whose traffic a test can disturb. */
export class TcpProxy {
  readonly #server: Server;
  #target: Target;
  /** Both sockets of each connection, until they are closed. */
  readonly #sockets = new Set<Socket>();
  #frozen = false;
  #refusing = false;

  private constructor(target: Target) {
    this.#target = target;
    this.#server = createServer((near) => this.#relay(near));
  }

  /** Starts one before the server of a URL. */
  static async start(url: string): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetOf(url));
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Open sockets, of both sides. */
  get sockets(): number {
    return this.#sockets.size;
  }

  /** The URL, by way of this proxy. */
  through(url: string): string {
    const other = new URL(url);
    other.hostname = '127.0.0.1';
    other.port = String(this.port);
    return other.toString();
  }

  /** Relays whoever connects from now on to another server. */
  retarget(url: string): void {
    this.#target = targetOf(url);
  }

  /** Goes silent: connections, also new ones, stay open and nothing comes through; half open, or a black hole. */
  freeze(): void {
    this.#frozen = true;
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** Lets new connections through again; what was silent stays so, as after a lost machine. */
  thaw(): void {
    this.#frozen = false;
  }

  /** Resets all connections. */
  reset(): void {
    for (const socket of this.#sockets) {
      if (!socket.pending) socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  /** Resets whoever connects from now on, or no longer does. */
  refuse(refusing = true): void {
    this.#refusing = refusing;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #relay(near: Socket): void {
    if (this.#refusing) {
      near.resetAndDestroy();
      return;
    }
    const far = new Socket();
    this.#track(near, far);
    this.#track(far, near);
    if (this.#frozen) {
      near.pause();
      return;
    }
    near.pipe(far);
    far.pipe(near);
    far.connect(this.#target.port, this.#target.host);
  }

  #track(socket: Socket, other: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    // An error is followed by "close", which the other side sees too.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (!this.#frozen) other.destroy();
    });
  }
}

function targetOf(url: string): Target {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port || 5432) };
}
