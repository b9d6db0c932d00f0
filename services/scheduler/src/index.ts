export { type App, createApp, type SchedulerOverrides } from './app.ts';
export { readSchedulerConfig, type SchedulerConfig } from './config.ts';
