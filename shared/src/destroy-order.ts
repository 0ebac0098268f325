/** Bounds of destroy orders, alike for who signs them, who hands them on, and who judges them. */

/** From the signature to the end; a forgotten order must not stay good. */
export const DESTROY_LIFE_MS_MAX = 30 * 86_400_000;
export const DESTROY_NAMES_MAX = 100;
/** Of a serialised envelope. */
export const DESTROY_ORDER_BYTES_MAX = 16_384;
