import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type BatchCreateRunsRequest,
  type BatchCreateRunsResponse,
  type CreateRunRequest,
  type CreateRunResponse,
  RunService,
} from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type CarillonTransport, createCarillonTransport } from '@carillon/server/client-transport.ts';
import { type Client, createClient } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';

/** A call that creates runs, on its way through a gateway. */
export interface CreateCall {
  readonly requests: readonly CreateRunRequest[];
  /** Aborts when the caller hangs up. */
  readonly signal: AbortSignal;
  /** Lets the real service do it. May be called whether or not its answer is passed on. */
  forward(): Promise<CreateRunResponse | BatchCreateRunsResponse>;
}

/** What a gateway does with calls that create runs: answers as it likes, or throws a ConnectError. */
export type Interference = (call: CreateCall) => Promise<CreateRunResponse | BatchCreateRunsResponse>;

const HONEST: Interference = (call) => call.forward();

/** Stands before a runs service and answers in its stead when told to; whatever runs exist, the real service has created. */
export class RunGateway {
  /** What happens to calls that create runs. Default: they are passed on. */
  interference: Interference = HONEST;
  /** How many calls that create runs arrived. */
  calls = 0;
  /** How many of them are not answered yet, and how many at once at most. */
  open = 0;
  mostOpen = 0;
  readonly #transport: CarillonTransport;
  readonly #client: Client<typeof RunService>;
  readonly #server: Server;

  private constructor(runsUrl: string) {
    this.#transport = createCarillonTransport({ baseUrl: runsUrl, writeMaxBytes: 16 * 1024 * 1024 });
    this.#client = createClient(RunService, this.#transport);
    const client = this.#client;
    this.#server = createServer(
      connectNodeAdapter({
        readMaxBytes: 16 * 1024 * 1024,
        routes: (router) => {
          router.service(RunService, {
            createRun: (request, { signal }) =>
              this.#pass<CreateRunResponse>([request], signal, () => client.createRun(request)),
            batchCreateRuns: (request: BatchCreateRunsRequest, { signal }) =>
              this.#pass<BatchCreateRunsResponse>(request.requests, signal, () =>
                client.batchCreateRuns(request),
              ),
            batchGetRuns: (request) => client.batchGetRuns(request),
            getRun: (request) => client.getRun(request),
          });
        },
      }),
    );
  }

  /** Starts one before the service at a URL. */
  static async start(runsUrl: string): Promise<RunGateway> {
    const gateway = new RunGateway(runsUrl);
    await new Promise<void>((resolve) => gateway.#server.listen(0, '127.0.0.1', resolve));
    return gateway;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Passes everything on again. */
  behave(): void {
    this.interference = HONEST;
  }

  /** Closes each connection after so many calls; 0: never. */
  limitCalls(ofConnection: number): void {
    this.#server.maxRequestsPerSocket = ofConnection;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    this.#transport.close();
  }

  async #pass<Response>(
    requests: readonly CreateRunRequest[],
    signal: AbortSignal,
    forward: () => Promise<Response & (CreateRunResponse | BatchCreateRunsResponse)>,
  ): Promise<Response> {
    this.calls++;
    this.open++;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    try {
      return (await this.interference({ requests, signal, forward })) as Response;
    } finally {
      this.open--;
    }
  }
}
