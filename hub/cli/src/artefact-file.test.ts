/** The bytes of a packed directory depend on names, contents and executable bits, and on nothing else. */
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Fault } from "@holdfast/shared/fault.ts";
import { extract } from "tar-stream";
import { describe, expect, it } from "vitest";
import { packArtefact } from "./artefact-file.ts";

function scratch(): string {
  return mkdtempSync(join(tmpdir(), "holdfast-artefact-"));
}

function filled(names: readonly string[]): string {
  const root = scratch();
  mkdirSync(join(root, "lib"));
  for (const name of names) writeFileSync(join(root, name), name);
  return root;
}

const pack = (path: string) => packArtefact("worker", path, scratch());

async function refusalOf(path: string): Promise<string> {
  try {
    await pack(path);
  } catch (error) {
    if (error instanceof Fault) return `${error.reason}: ${error.message}`;
    throw error;
  }
  return "";
}

describe("packArtefact", () => {
  it("gives one digest for the same content, whenever and in whatever order it was written", async () => {
    const one = filled(["b", "a", "lib/c"]);
    const two = filled(["lib/c", "a", "b"]);
    utimesSync(join(two, "a"), 1_000, 1_000);
    chmodSync(join(two, "a"), 0o600);
    const first = await pack(one);
    expect(first).toMatchObject({ name: "worker", mediaType: "application/x-tar" });
    expect((await pack(two)).digest).toBe(first.digest);
    chmodSync(join(two, "a"), 0o700);
    expect((await pack(two)).digest).not.toBe(first.digest);
  });

  it("holds what was there, without owner and time, directories first", async () => {
    const { file } = await pack(filled(["b", "lib/c"]));
    const entries: unknown[] = [];
    const reader = extract();
    reader.on("entry", ({ name, mode, uid, mtime, type }, stream, next) => {
      entries.push([name, mode, uid, mtime?.getTime(), type]);
      stream.resume().on("end", next);
    });
    await new Promise<void>((done) => {
      reader.on("finish", () => done());
      void readFile(file).then((bytes) => Readable.from([bytes]).pipe(reader));
    });
    expect(entries).toEqual([
      ["b", 0o644, 0, 0, "file"],
      ["lib/", 0o755, 0, 0, "directory"],
      ["lib/c", 0o644, 0, 0, "file"],
    ]);
  });

  it("takes a single file as it is", async () => {
    const root = filled(["b"]);
    const { file, size, mediaType } = await pack(join(root, "b"));
    expect([file, size, mediaType]).toEqual([join(root, "b"), 1, "application/octet-stream"]);
  });

  it("refuses links of any kind and what is not there", async () => {
    const soft = filled(["b"]);
    symlinkSync("/etc/passwd", join(soft, "link"));
    expect(await refusalOf(soft)).toContain("links are not packed");
    const hard = filled(["b"]);
    linkSync(join(hard, "b"), join(hard, "c"));
    expect(await refusalOf(hard)).toContain("hard link");
    expect(await refusalOf("/nope")).toContain("no such file (ENOENT)");
  });
});
