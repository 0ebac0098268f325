/**
 * The set-up in a checkout of its own, with an npm and a pnpm of the test's making on a private PATH: what they were
 * asked is in `calls`, and how npm behaves is in `npm-does`. The real ones are met by every clean clone in CI.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const CONDITION_MS_MAX = 20_000;
const POLL_MS = 20;

const FAKE_NPM = `#!/bin/sh
echo "npm $1 in $(basename "$PWD")" >> "$CALLS"
. "$NPM_DOES"
bin=node_modules/.bin
mkdir -p "$bin" "node_modules/@pnpm/exe.linux-$ARCH"
ln -s "$REAL_NODE" "$bin/node"
cat > "node_modules/@pnpm/exe.linux-$ARCH/pnpm" <<'PNPM'
#!/bin/sh
mode=all
for argument; do [ "$argument" = --prod ] && mode=run; done
echo "pnpm $mode" >> "$CALLS"
mkdir -p node_modules
PNPM
chmod +x "node_modules/@pnpm/exe.linux-$ARCH/pnpm"
`;

type Ended = Readonly<{ code: number | null; stderr: string; stdout: string; pid: number }>;

let checkout: string;
let env: NodeJS.ProcessEnv;
let children: ChildProcess[];

beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), "holdfast-setup-"));
  children = [];
  for (const part of ["scripts", "holdfast", "pnpm-lock.yaml", "pnpm-workspace.yaml"]) {
    cpSync(join(ROOT, part), join(checkout, part), { recursive: true });
  }
  const bin = join(checkout, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "npm"), FAKE_NPM);
  chmodSync(join(bin, "npm"), 0o755);
  symlinkSync(process.execPath, join(bin, "node"));
  env = {
    PATH: `${bin}:/usr/bin:/bin`,
    CALLS: join(checkout, "calls"),
    NPM_DOES: join(checkout, "npm-does"),
    REAL_NODE: process.execPath,
    ARCH: process.arch,
  };
  npmDoes(":");
});

afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(checkout, { recursive: true, force: true });
});

function npmDoes(script: string): void {
  writeFileSync(join(checkout, "npm-does"), `${script}\n`);
}

function calls(): string[] {
  const path = join(checkout, "calls");
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
}

function start(command: string, args: readonly string[], cwd = checkout): ChildProcess {
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  return child;
}

async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, "close");
  return { code, stdout, stderr, pid: child.pid ?? 0 };
}

function setUp(mode: string): Promise<Ended> {
  return ended(start(process.execPath, ["scripts/setup.mjs", mode]));
}

async function until(isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + CONDITION_MS_MAX;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error("the condition did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

describe("scripts/setup.mjs", () => {
  it("brings the toolchain and the packages, and does nothing the second time", async () => {
    expect(await setUp("run")).toMatchObject({ code: 0 });
    expect(calls()).toEqual(["npm ci in .toolchain.partial", "pnpm run"]);
    expect(await setUp("run")).toMatchObject({ code: 0, stderr: "" });
    expect(calls()).toHaveLength(2);
    expect(existsSync(join(checkout, ".toolchain.partial"))).toBe(false);
    expect(existsSync(join(checkout, ".toolchain.lock"))).toBe(false);
  });

  it("adds the test tools for tests, and a later start leaves them there", async () => {
    for (const mode of ["run", "all", "run"]) expect(await setUp(mode)).toMatchObject({ code: 0 });
    expect(calls().slice(1)).toEqual(["pnpm run", "pnpm all"]);
    writeFileSync(join(checkout, "pnpm-lock.yaml"), "lockfileVersion: '9.0'\n");
    expect(await setUp("run")).toMatchObject({ code: 0 });
    expect(calls().slice(3)).toEqual(["pnpm all"]);
  });

  it("does the toolchain again when its pins change", async () => {
    await setUp("run");
    const pins = join(checkout, "scripts/toolchain/package-lock.json");
    writeFileSync(pins, `${readFileSync(pins, "utf8")}\n`);
    expect(await setUp("run")).toMatchObject({ code: 0 });
    expect(calls().filter((call) => call.startsWith("npm"))).toHaveLength(2);
  });

  it("does not take a half-installed toolchain for whole", async () => {
    mkdirSync(join(checkout, ".toolchain/node_modules/.bin"), { recursive: true });
    symlinkSync(process.execPath, join(checkout, ".toolchain/node_modules/.bin/node"));
    expect(await setUp("run")).toMatchObject({ code: 0 });
    expect(calls()).toEqual(["npm ci in .toolchain.partial", "pnpm run"]);
  });

  it("starts again after it was killed in the middle, in spite of the lock that was left", async () => {
    npmDoes('mkdir node_modules; while [ ! -e "$CALLS.go" ]; do sleep 0.05; done; exit 1');
    const killed = start(process.execPath, ["scripts/setup.mjs", "run"]);
    const end = ended(killed);
    await until(() => existsSync(join(checkout, ".toolchain.partial/node_modules")));
    killed.kill("SIGKILL");
    writeFileSync(join(checkout, "calls.go"), "");
    await end;
    expect(existsSync(join(checkout, ".toolchain.lock"))).toBe(true);
    npmDoes(":");
    expect(await setUp("run")).toMatchObject({ code: 0 });
    expect(existsSync(join(checkout, ".toolchain/holdfast-toolchain"))).toBe(true);
  });

  it("lets one of two runs at once do the work", async () => {
    const both = await Promise.all([setUp("run"), setUp("run")]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(calls()).toEqual(["npm ci in .toolchain.partial", "pnpm run"]);
  });

  it.each([
    ["npm error code ENOTFOUND", "npm cannot reach the npm registry for Node 24"],
    ["npm error ENOSPC: no space left on device", "There is no space left for Node 24"],
  ])("answers %j of npm with one sentence and leaves no toolchain", async (said, sentence) => {
    npmDoes(`echo '${said}' >&2; exit 1`);
    const { code, stderr } = await setUp("run");
    expect(code).toBe(1);
    const [last, ...others] = stderr.trim().split("\n").reverse();
    expect(last).toContain(`error: ${sentence}`);
    expect(others).toHaveLength(1);
    expect(existsSync(join(checkout, ".toolchain"))).toBe(false);
    expect(existsSync(join(checkout, ".toolchain.partial"))).toBe(false);
  });

  it("says that npm is missing", async () => {
    env = { ...env, PATH: "/nonexistent" };
    const { code, stderr } = await setUp("run");
    expect(code).toBe(1);
    expect(stderr).toContain("error: npm is not on the PATH");
  });

  it("keeps the toolchain that is there when a newer one cannot be had", async () => {
    await setUp("run");
    const pins = join(checkout, "scripts/toolchain/package-lock.json");
    writeFileSync(pins, `${readFileSync(pins, "utf8")}\n`);
    npmDoes("echo 'npm error code ECONNREFUSED' >&2; exit 1");
    expect(await setUp("run")).toMatchObject({ code: 1 });
    expect(existsSync(join(checkout, ".toolchain/node_modules/.bin/node"))).toBe(true);
  });
});

describe("scripts/with-toolchain", () => {
  it("becomes the script's process, with its arguments and its exit code", async () => {
    const script = "console.log(process.pid, ...process.argv.slice(2)); process.exitCode = 42;";
    writeFileSync(join(checkout, "scripts/told.ts"), script);
    const args = ["run", "scripts/told.ts", "a", "b c"];
    const { code, stdout, pid } = await ended(start("scripts/with-toolchain", args));
    expect(code).toBe(42);
    expect(stdout).toBe(`${pid} a b c\n`);
  });
});

describe("./holdfast", () => {
  it("says what to do in a checkout that is not set up", async () => {
    const { code, stderr } = await ended(start("./holdfast", []));
    expect(code).toBe(1);
    expect(stderr).toBe(
      `error: Holdfast is not set up in ${checkout} yet; run npm start there first.\nnext: npm start\n`,
    );
  });

  it("works through symbolic links and from any directory", async () => {
    await setUp("run");
    mkdirSync(join(checkout, "hub/cli/src"), { recursive: true });
    writeFileSync(join(checkout, "hub/cli/src/main.ts"), "console.log(process.argv.slice(2));");
    mkdirSync(join(checkout, "elsewhere/deep"), { recursive: true });
    symlinkSync("../holdfast", join(checkout, "elsewhere/hf"));
    symlinkSync(join(checkout, "elsewhere/hf"), join(checkout, "elsewhere/deep/absolute"));
    const elsewhere = join(checkout, "elsewhere/deep");
    const { code, stdout } = await ended(start("./absolute", ["get", "a b"], elsewhere));
    expect(code).toBe(0);
    expect(stdout.trim()).toBe("[ 'get', 'a b' ]");
  });
});
