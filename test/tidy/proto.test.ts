/** The wire contracts: well-formed, generated code that matches them, and no break with what was released. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ROOT } from "./source.ts";

const RELEASED = join(ROOT, "proto/released");
const CONFIG = ["buf.yaml", "buf.gen.yaml"];

let scratch: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "holdfast-proto-"));
});

afterEach(() => {
  rmSync(scratch, { recursive: true, force: true });
});

/** What buf printed, and whether it was content. */
function buf(args: readonly string[], cwd = ROOT): Readonly<{ ok: boolean; output: string }> {
  const path = [join(ROOT, "node_modules/.bin"), process.env["PATH"]].join(":");
  const { status, stdout, stderr } = spawnSync(join(ROOT, "node_modules/.bin/buf"), args, {
    cwd,
    encoding: "utf8",
    env: { PATH: path, HOME: scratch, BUF_CACHE_DIR: join(scratch, "cache") },
  });
  return { ok: status === 0, output: stdout + stderr };
}

/** A copy of the contracts in which a text is replaced; throws when it is not there. */
function changedCopy(file: string, from: RegExp, to: string): string {
  const copy = join(scratch, "copy");
  for (const each of CONFIG) cpSync(join(ROOT, each), join(copy, each));
  cpSync(join(ROOT, "proto"), join(copy, "proto"), {
    recursive: true,
    filter: (source) => !/\/(gen|node_modules|released)$/.test(source),
  });
  const path = join(copy, "proto/holdfast", file);
  const text = readFileSync(path, "utf8");
  const changed = text.replace(from, to);
  if (changed === text) throw new Error(`${file} has nothing like ${from} to plant a break in`);
  writeFileSync(path, changed);
  return copy;
}

function filesBelow(folder: string): ReadonlyMap<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [path.slice(folder.length + 1), readFileSync(path, "utf8")]),
  );
}

describe("proto", () => {
  it("passes buf's lint and is formatted", () => {
    expect(buf(["lint"])).toEqual({ ok: true, output: "" });
    const ours = ["--path", "proto/holdfast"];
    expect(buf(["format", "--diff", "--exit-code", ...ours])).toEqual({ ok: true, output: "" });
  });

  it("has generated code that is what the generator makes of it", () => {
    expect(buf(["generate", "--output", scratch])).toMatchObject({ ok: true });
    expect(filesBelow(join(scratch, "proto/gen"))).toEqual(filesBelow(join(ROOT, "proto/gen")));
  });

  it("breaks with no released version", () => {
    const released = existsSync(RELEASED) ? readdirSync(RELEASED) : [];
    for (const file of released.filter((each) => each.endsWith(".binpb"))) {
      expect(buf(["breaking", "--against", join(RELEASED, file)])).toEqual({
        ok: true,
        output: "",
      });
    }
  });

  it.each([
    ["a field's number is changed", "model/v1/envelope.proto", /= 1;/, "= 1001;"],
    ["a field is removed", "link/v1/link.proto", /^ {2}\w[^\n]* = 1;$/m, ""],
    ["a call is renamed", "api/v1/tenant.proto", /rpc GetTenant\(/, "rpc FindTenant("],
  ])("is told apart from a released version when %s", (_, file, from, to) => {
    const image = join(scratch, "released.binpb");
    expect(buf(["build", "-o", image])).toEqual({ ok: true, output: "" });
    expect(buf(["breaking", "--against", image])).toEqual({ ok: true, output: "" });
    const { ok, output } = buf(["breaking", "--against", image], changedCopy(file, from, to));
    expect(ok).toBe(false);
    expect(output).toContain(`holdfast/${file}:`);
  });
});
