export { type App, createApp, type RunsOverrides } from './app.ts';
export { type RunsConfig, readRunsConfig, runsSettings } from './config.ts';
