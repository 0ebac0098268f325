/** The ways to run PostgreSQL's programs as somebody who is not root, below directories that are root's alone. */
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { asUnprivileged, findLauncher, type Launcher } from "./launch.ts";

const ME = getuid?.() ?? 0;
let parent: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "hf-launch-")); // 0700, as a hub's data directory is.
});
afterEach(() => rm(parent, { recursive: true, force: true }));

it.each([
  { way: "the way of this machine", find: () => findLauncher(ME) },
  {
    way: "an unprivileged user where namespaces are forbidden",
    find: () => (ME === 0 ? asUnprivileged() : findLauncher(ME)),
  },
])("by $way a program is not root and writes what was made before it", async ({ find }) => {
  const launcher = await find();
  const data = join(parent, "data");
  await mkdir(join(data, "base"), { mode: 0o700, recursive: true });
  await writeFile(join(data, "base", "1"), "old", { mode: 0o600 });
  await launcher.adopt(data);
  await run(launcher, `id -u >${data}/base/1`);
  expect(await readFile(join(data, "base", "1"), "utf8")).not.toBe("0\n");
  expect((await stat(join(data, "base"))).uid).toBe(launcher.uid ?? ME);
  await launcher.adopt(data);
  await run(launcher, `test -w ${data}/base/1`);
});

async function run(launcher: Launcher, script: string): Promise<void> {
  const child = launcher.spawn("/bin/sh", ["-ec", script], {
    cwd: "/",
    stdio: ["ignore", "ignore", "inherit"],
  });
  expect(await once(child, "exit")).toEqual([0, null]);
}
