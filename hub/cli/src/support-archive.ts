/** Writes a support bundle: a tar of JSON files, compressed, for its owner only. Replaces no file. */
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { Fault } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { shown } from "@holdfast/shared/text.ts";
import { pack } from "tar-stream";
import type { Terminal } from "./terminal.ts";

export type BundleFile = Readonly<{ name: string; what: string; text: string }>;

/** Its size in bytes. Throws ALREADY_EXISTS `FILE_EXISTS`. */
export async function writeArchive(
  terminal: Terminal,
  path: string,
  files: readonly BundleFile[],
): Promise<number> {
  const tar = pack();
  const mtime = new Date(terminal.clock.now());
  for (const { name, text } of files) {
    tar.entry({ name: `holdfast-support/${name}`, mode: 0o600, mtime }, text);
  }
  tar.finalize();
  const bytes = await promisify(gzip)(await buffer(tar));
  let file: Awaited<ReturnType<typeof open>> | undefined;
  try {
    file = await open(resolve(terminal.workingDirectory, path), "wx", 0o600);
    await file.writeFile(bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw unreadable("file", path, error);
    const message = `file ${shown(path)} is there already; it is not replaced`;
    throw new Fault("ALREADY_EXISTS", "FILE_EXISTS", message, { next: `ls -l ${path}` });
  } finally {
    await file?.close();
  }
  return bytes.length;
}
