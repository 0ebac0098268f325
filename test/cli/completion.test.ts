/**
 * The completion scripts in the shells that they are for: a line is typed at a terminal, Tab is pressed, and what
 * then stands on the line is looked at. zsh and fish are looked at where they are installed, and always in CI.
 */
import { spawn, spawnSync } from "node:child_process";
import {
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
import { env } from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../e2e/until.ts";

const ROOT = join(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "hf-shells-"));
const file = (name: string) => join(home, name);
const READY = "type here";
const TAB = "\t";
/** Control and G: the line as it stands goes into the file $LINE. */
const SHOW = "\x07";
const LOOK_MS_MAX = 60_000;

type Shell = Readonly<{ command: string; setUp: Readonly<Record<string, string>> }>;

/** Each with nobody's own settings. */
const SHELLS: Readonly<Record<"bash" | "zsh" | "fish", Shell>> = {
  bash: {
    command: "bash --noprofile --rcfile bashrc -i",
    setUp: {
      bashrc: `source <(holdfast completion bash)
        bind -x '"\\C-g": printf %s "$READLINE_LINE" >"$LINE.new"; mv "$LINE.new" "$LINE"'
        PS1="${READY} "`,
    },
  },
  zsh: {
    command: "zsh -d -i",
    setUp: {
      ".zshrc": `autoload -Uz compinit && compinit -u -D
        source <(holdfast completion zsh)
        show() { print -rn -- "$BUFFER" >"$LINE.new"; mv "$LINE.new" "$LINE" }
        zle -N show && bindkey '^G' show
        PS1="${READY} "`,
    },
  },
  fish: {
    command: "fish",
    setUp: {
      "fish/config.fish": `holdfast completion fish | source
        function show; printf %s (commandline) >$LINE.new; mv $LINE.new $LINE; end
        function fish_prompt; printf '${READY} '; end
        function fish_user_key_bindings; bind \\cg show; end
        set -g fish_greeting`,
    },
  },
};

/** False where it is not installed; CONTRIBUTING.md says so, and CI installs it. */
function isInstalled(name: string): boolean {
  const { error } = spawnSync(name, ["--version"]);
  if (error === undefined) return true;
  expect(error).toMatchObject({ code: "ENOENT" });
  expect(env["CI"]).toBeUndefined();
  return false;
}

beforeAll(() => {
  mkdirSync(file("bin"));
  symlinkSync(join(ROOT, "holdfast"), file("bin/holdfast"));
  mkdirSync(file("fish"));
  for (const { setUp } of Object.values(SHELLS)) {
    for (const [name, text] of Object.entries(setUp)) writeFileSync(file(name), text);
  }
  writeFileSync(file("manifest one.yaml"), "");
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** What stands on the line after these keys and Tab. */
async function lineAfter({ command }: Shell, keys: string): Promise<string> {
  const line = file("line");
  rmSync(line, { force: true });
  const shell = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
    cwd: home,
    env: {
      ...{ HOME: home, ZDOTDIR: home, XDG_CONFIG_HOME: home, XDG_DATA_HOME: home, LINE: line },
      // Without it fish leaves a folder of its own in /tmp.
      XDG_RUNTIME_DIR: home,
      ...{ PATH: `${file("bin")}:/usr/local/bin:/usr/bin:/bin`, TERM: "xterm", LANG: "C.UTF-8" },
      NODE_COMPILE_CACHE: env["NODE_COMPILE_CACHE"],
    },
  });
  let seen = "";
  shell.stdout.on("data", (data: Buffer) => {
    seen += data.toString("utf8");
  });
  const ended = new Promise((resolve) => shell.once("exit", resolve));
  try {
    const told = () => `${command}: ${JSON.stringify(seen)}`;
    await until("the prompt", () => seen.includes(READY), LOOK_MS_MAX).catch((error: Error) => {
      throw new Error(told(), { cause: error });
    });
    shell.stdin.write(`${keys}${TAB}${SHOW}`);
    await until("the line", () => existsSync(line), LOOK_MS_MAX).catch((error: Error) => {
      throw new Error(told(), { cause: error });
    });
    return readFileSync(line, "utf8").trimEnd();
  } finally {
    shell.stdin.end();
    shell.kill("SIGKILL");
    await ended;
  }
}

describe.each(Object.entries(SHELLS))("in %s", (name, shell) => {
  it.each([
    { typed: "holdfast compl", it: "a command", full: "holdfast completion" },
    {
      typed: "holdfast completion fi",
      it: "an argument's word, though a folder is called so",
      full: "holdfast completion fish",
    },
    {
      typed: "holdfast instance why --ten",
      it: "an option",
      full: "holdfast instance why --tenant",
    },
    {
      typed: "holdfast get instance -o js",
      it: "an option's word",
      full: "holdfast get instance -o json",
    },
    {
      typed: "holdfast apply -f man",
      it: "a file, quoted",
      full: "holdfast apply -f manifest\\ one.yaml",
    },
  ])("Tab completes $it", async ({ typed, full }) => {
    if (isInstalled(name)) expect(await lineAfter(shell, typed)).toBe(full);
  });
});
