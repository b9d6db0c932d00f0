import { ReplicaState } from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import type { Style } from '../style.ts';

const TEXTS: Readonly<Record<ReplicaState, string>> = {
  [ReplicaState.UNSPECIFIED]: '? unknown',
  [ReplicaState.STARTING]: '… starting',
  [ReplicaState.STANDBY_READY]: '◌ standby-ready',
  [ReplicaState.LEADING]: '● leading',
  [ReplicaState.DRAINING]: '↓ draining',
};

/** What a replica does, in a word. */
export function replicaStateText(state: ReplicaState): string {
  return TEXTS[state] ?? `? ${state}`;
}

/** The same, coloured. */
export function paintReplicaState(style: Style, text: string, state: ReplicaState): string {
  if (state === ReplicaState.LEADING) return style.good(text);
  return state === ReplicaState.STANDBY_READY ? text : style.faint(text);
}
