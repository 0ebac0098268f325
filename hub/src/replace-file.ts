/** Files that others read while we write them. */
import { chmod, rename, writeFile } from "node:fs/promises";

/** Whoever reads it sees the old content or the new, never a part. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const fresh = `${path}.new`;
  await writeFile(fresh, text, { mode });
  await chmod(fresh, mode);
  await rename(fresh, path);
}
