export { type App, createApp, type WorkerOverrides } from './app.ts';
export { readWorkerConfig, type WorkerConfig, workerSettings } from './config.ts';
