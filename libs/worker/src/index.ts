export {
  type StopCause,
  StopError,
  type TaskContext,
  TaskError,
  type TaskHandler,
  type TaskPayload,
} from './task.ts';
export { createWorker, type Worker, type WorkerOptions } from './worker.ts';
