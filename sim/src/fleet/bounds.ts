/** How large a simulated fleet may be. Apart from the fleet itself, so that the command line loads nothing of it. */

export const AGENTS_MAX = 50_000;
export const PROCESSES_MAX = 64;
