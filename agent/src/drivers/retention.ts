/**
 * Which output of an instance is let go, oldest first. Pure. Bounds hold always; what is more goes while the disk has
 * less free than the reserve. A log that a copy writes to is never removed, only cut to its end, and last of all.
 */

/** A part of a log that is full; smaller ones are cheap to move in one turn of the event loop. 8 MiB. */
export const LOG_PART_BYTES = 8_388_608;
/** Of one copy, besides the one that it writes to: 56 MiB. */
export const LOG_PARTS_MAX = 7;
/** Of one instance, all resources and copies: 256 MiB. */
export const LOG_INSTANCE_BYTES_MAX = 268_435_456;
/** What is to stay free for everything else on the disk: this share, but not more than so many bytes (1 GiB). */
export const DISK_RESERVE_SHARE = 0.05;
export const DISK_RESERVE_BYTES_MAX = 1_073_741_824;
/** What stays of a log in use when the disk is nearly full; 64 KiB. */
export const LOG_CUT_BYTES = 65_536;

export type LogFile = Readonly<{
  path: string;
  /** The copy's. */
  handle: string;
  bytes: number;
  writtenAt: number;
  /** Some process has it open. */
  isInUse: boolean;
  /** A part that is full, not the log itself. */
  isPart: boolean;
}>;
export type Disk = Readonly<{ freeBytes: number; totalBytes: number }>;
export type Retention = Readonly<{
  remove: readonly LogFile[];
  cut: readonly LogFile[];
  isPressed: boolean;
}>;

export function planRetention(files: readonly LogFile[], disk: Disk): Retention {
  const oldestFirst = files
    .filter(({ isInUse }) => !isInUse)
    .sort((a, b) => a.writtenAt - b.writtenAt || (a.path < b.path ? -1 : 1));
  const remove = new Set(surplusParts(oldestFirst));
  const kept = () => files.filter((file) => !remove.has(file));
  let over = sumOf(kept()) - LOG_INSTANCE_BYTES_MAX;
  const missing = reserveOf(disk) - disk.freeBytes;
  const isPressed = missing > 0;
  let wanted = Math.max(over, missing - sumOf([...remove]));
  for (const file of oldestFirst) {
    if (wanted <= 0) break;
    if (remove.has(file)) continue;
    remove.add(file);
    wanted -= file.bytes;
    over -= file.bytes;
  }
  const cut = kept()
    .filter(({ isInUse, bytes }) => isInUse && bytes > LOG_CUT_BYTES)
    .sort((a, b) => b.bytes - a.bytes)
    .filter(({ bytes }) => {
      const isWanted = wanted > 0;
      if (isWanted) wanted -= bytes - LOG_CUT_BYTES;
      return isWanted;
    });
  return { remove: [...remove], cut, isPressed };
}

function surplusParts(oldestFirst: readonly LogFile[]): readonly LogFile[] {
  const newer = new Map<string, number>();
  return oldestFirst.toReversed().filter(({ handle, isPart }) => {
    if (!isPart) return false;
    const count = newer.get(handle) ?? 0;
    newer.set(handle, count + 1);
    return count >= LOG_PARTS_MAX;
  });
}

export function reserveOf({ totalBytes }: Disk): number {
  return Math.min(DISK_RESERVE_BYTES_MAX, Math.floor(totalBytes * DISK_RESERVE_SHARE));
}

function sumOf(files: readonly LogFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
