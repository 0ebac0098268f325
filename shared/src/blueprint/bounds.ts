/** Bounds that the agent needs before it judges a blueprint, apart from the rules, which it loads when there is one. */

/** 3 MiB, so that an envelope with it fits into one call. */
export const BLUEPRINT_BYTES_MAX = 3 * 1024 * 1024;
export const SECRETS_MAX = 50;
