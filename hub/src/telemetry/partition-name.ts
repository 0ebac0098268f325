/**
 * Names of partition files, and which of them have to go. A partition holds what arrived from its start on, so its
 * name says how old it is and names sort by age. Pure.
 */

export type Family = "logs" | "samples";

/** `start` in ms; `number` tells partitions apart that were begun for their size. */
export type PartitionFile = Readonly<{
  name: string;
  startMs: number;
  number: number;
  isDamaged: boolean;
  bytes: number;
}>;

const NAME = /^(logs|samples)-(\d{13})-(\d{4})\.db(\.damaged)?$/;
const NUMBER_MAX = 9_999;
/** What is left for the partition that is being written: bytes are bounded with it full. */
const PARTITIONS_MIN = 16;
const PARTITION_MS_MIN = 3_600_000;
const PARTITION_MS_MAX = 86_400_000;
/** Age is kept to within this share of it. */
const PARTITIONS_IN_AGE = 28;

export function partitionName(family: Family, startMs: number, number: number): string {
  const counted = Math.min(number, NUMBER_MAX);
  return `${family}-${String(startMs).padStart(13, "0")}-${String(counted).padStart(4, "0")}.db`;
}

/** undefined for a file that is none of the family's. */
export function parseName(family: Family, name: string, bytes: number): PartitionFile | undefined {
  const match = NAME.exec(name);
  if (match === null || match[1] !== family) return undefined;
  const [, , startMs, number, damaged] = match;
  return {
    ...{ name, bytes, startMs: Number(startMs), number: Number(number) },
    isDamaged: damaged !== undefined,
  };
}

export function partitionBytesMax(bytesMax: number): number {
  return Math.floor(bytesMax / PARTITIONS_MIN);
}

export function partitionMs(ageMsMax: number): number {
  const share = Math.ceil(ageMsMax / PARTITIONS_IN_AGE);
  return Math.min(PARTITION_MS_MAX, Math.max(PARTITION_MS_MIN, share));
}

/** The name of the next partition; later than all that are there, also when the clock went back. */
export function nextName(family: Family, now: number, files: readonly PartitionFile[]): string {
  const newest = files.reduce((max, { startMs }) => Math.max(max, startMs), 0);
  const startMs = Math.max(Math.floor(now), newest);
  const taken = files.filter((each) => each.startMs === startMs).map(({ number }) => number);
  return partitionName(family, startMs, Math.max(-1, ...taken) + 1);
}

/**
 * What has to go, oldest first: what ended longer ago than the age, and what is too much beside a full partition.
 * `active` stays whatever it holds.
 */
export function expired(
  files: readonly PartitionFile[],
  active: string | undefined,
  bounds: Readonly<{ ageMsMax: number; bytesMax: number }>,
  now: number,
): readonly string[] {
  const sealed = files
    .filter(({ name }) => name !== active)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const starts = files.map(({ startMs }) => startMs).sort((a, b) => a - b);
  let bytes = sealed.reduce((sum, file) => sum + file.bytes, 0);
  const room = bounds.bytesMax - partitionBytesMax(bounds.bytesMax);
  const gone: string[] = [];
  for (const file of sealed) {
    // A partition ends where the next one begins.
    const endMs = starts.find((start) => start > file.startMs) ?? file.startMs;
    if (endMs >= now - bounds.ageMsMax && bytes <= room) break;
    gone.push(file.name);
    bytes -= file.bytes;
  }
  return gone;
}
