/** Who calls. Kept small on purpose: what a principal may do is decided where the resource is. */
export interface Principal {
  /** Stable identity, as in `serviceAccount:scheduler`; logged with every call, so never a credential. */
  readonly subject: string;
}

/** The principal of a server that has no authentication configured: development only. */
export const ANONYMOUS: Principal = { subject: 'anonymous' };

/** What an {@link Authenticate} may look at: the headers, never the body, which has not been read yet. */
export interface Credentials {
  /** Request headers. */
  readonly header: Headers;
  /** The method called, as in `/carillon.run.v1.RunService/CreateRun`. */
  readonly procedure: string;
  /** Address of the peer, which may be a proxy. */
  readonly peer: string;
}

/**
 * Tells who calls, before a byte of the body is read. Refuses with `unauthenticated(…)` or `permissionDenied(…)` of
 * libs/core. Not asked for gRPC health, so that probes need no credentials.
 */
export type Authenticate = (credentials: Credentials) => Promise<Principal> | Principal;
