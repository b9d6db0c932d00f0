import { ZONE_DATABASE_VERSION } from '@carillon/core/zone/database-version.ts';
import { Gauge, type Registry } from 'prom-client';

/**
 * Says in the metrics what runs: `carillon_build_info`, and the time zone database by which it computes, `carillon_time_zone_database_info`;
 * both are always 1, and what they say is in their labels.
 */
export function registerProcessInfo(registry: Registry, service: string, version: string): void {
  const registers = [registry];
  new Gauge({
    name: 'carillon_build_info',
    help: 'What runs',
    labelNames: ['service', 'version'],
    registers,
  }).set({ service, version }, 1);
  new Gauge({
    name: 'carillon_time_zone_database_info',
    help: 'The time zone database that local times are computed by',
    labelNames: ['version'],
    registers,
  }).set({ version: ZONE_DATABASE_VERSION }, 1);
}
