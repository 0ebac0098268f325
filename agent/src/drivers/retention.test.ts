/** Which output goes first, and what is never touched. */
import { describe, expect, it } from "vitest";
import {
  LOG_CUT_BYTES,
  LOG_INSTANCE_BYTES_MAX,
  LOG_PART_BYTES,
  LOG_PARTS_MAX,
  type LogFile,
  planRetention,
  reserveOf,
} from "./retention.ts";

const roomy = { freeBytes: 50e9, totalBytes: 100e9 };
const file = (path: string, writtenAt: number, more: Partial<LogFile> = {}): LogFile => ({
  ...{ path, writtenAt, handle: path.split(".")[0] ?? "", bytes: LOG_PART_BYTES },
  ...{ isInUse: false, isPart: false },
  ...more,
});
const names = (files: readonly LogFile[]) => files.map(({ path }) => path);

describe("planRetention", () => {
  it("keeps everything within its bounds", () => {
    const files = [file("a.log", 1), file("b.log", 2, { isInUse: true })];
    expect(planRetention(files, roomy)).toEqual({ remove: [], cut: [], isPressed: false });
  });

  it("lets the oldest parts of a copy go", () => {
    const parts = Array.from({ length: LOG_PARTS_MAX + 2 }, (_, n) =>
      file(`a.log.${n}`, n, { isPart: true }),
    );
    expect(names(planRetention(parts, roomy).remove).toSorted()).toEqual(["a.log.0", "a.log.1"]);
  });

  it("lets the oldest go beyond what an instance may have", () => {
    const bytes = LOG_INSTANCE_BYTES_MAX / 2;
    const files = [
      file("new.log", 3, { bytes }),
      file("old.log", 1, { bytes }),
      file("x.log", 2, { bytes: 1 }),
    ];
    expect(names(planRetention(files, roomy).remove)).toEqual(["old.log"]);
  });

  it("lets old output go until the reserve of the disk is free again, and no more", () => {
    const totalBytes = 1_000 * LOG_PART_BYTES;
    const disk = {
      totalBytes,
      freeBytes: reserveOf({ freeBytes: 0, totalBytes }) - LOG_PART_BYTES - 1,
    };
    const files = [file("c.log", 3), file("a.log", 1), file("b.log", 2)];
    const plan = planRetention(files, disk);
    expect(names(plan.remove)).toEqual(["a.log", "b.log"]);
    expect(plan).toMatchObject({ cut: [], isPressed: true });
  });

  it("cuts what is in use last, the largest first, and never removes it", () => {
    const disk = { totalBytes: 1e9, freeBytes: 0 };
    const files = [
      file("small.log", 1, { isInUse: true, bytes: LOG_CUT_BYTES }),
      file("large.log", 2, { isInUse: true, bytes: 100e6 }),
      file("middle.log", 3, { isInUse: true, bytes: 60e6 }),
      file("old.log", 4),
    ];
    const plan = planRetention(files, disk);
    expect(names(plan.remove)).toEqual(["old.log"]);
    expect(names(plan.cut)).toEqual(["large.log"]);
  });

  it("reserves a share of a small disk and a fixed amount of a large one", () => {
    expect(reserveOf({ freeBytes: 0, totalBytes: 1_000 })).toBe(50);
    expect(reserveOf({ freeBytes: 0, totalBytes: 1e15 })).toBe(1_073_741_824);
  });
});
