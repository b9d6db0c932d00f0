export { type App, createApp, type SchedulesOverrides } from './app.ts';
export { readSchedulesConfig, type SchedulesConfig, schedulesSettings } from './config.ts';
