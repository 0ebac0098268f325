/** A terminal for tests: its own directories, and all that was written to it. */
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { run } from "./run.ts";
import type { Terminal } from "./terminal.ts";

export type Ran = Readonly<{ code: number; out: string; err: string }>;

export class TestTerminal {
  readonly directory = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
  readonly interrupt = new AbortController();
  env: Record<string, string> = {};
  stdin = "";
  /** Set: a person is there and gives this answer. */
  answer: string | undefined;
  questions: string[] = [];
  columns: number | undefined;
  out = "";
  err = "";

  get terminal(): Terminal {
    return {
      out: (text) => {
        this.out += text;
      },
      err: (text) => {
        this.err += text;
      },
      readStdin: async () => this.stdin,
      ask: async (question) => {
        this.questions.push(question);
        return this.answer ?? "";
      },
      env: this.env,
      workingDirectory: this.directory,
      homeDirectory: join(this.directory, "home"),
      isInteractive: this.answer !== undefined,
      hasColor: false,
      columns: this.columns,
      signal: this.interrupt.signal,
      clock: systemClock,
      random: Math.random,
      randomUuid: randomUUID,
    };
  }

  /** Writes a context that the next runs find. */
  useHub(api: string, token: string): void {
    mkdirSync(join(this.directory, ".holdfast"));
    this.file(".holdfast/token", `${token}\r\n`);
    const context = { current: "test", contexts: { test: { api, token_file: "token" } } };
    this.file(".holdfast/context.yaml", JSON.stringify(context));
  }

  /** A file of the working directory; gives its name. */
  file(name: string, text: string): string {
    writeFileSync(join(this.directory, name), text, { mode: 0o600 });
    return name;
  }

  /** One run; what earlier runs wrote is forgotten. */
  async run(...args: readonly string[]): Promise<Ran> {
    this.out = "";
    this.err = "";
    const code = await run(this.terminal, args, "0.0.0-test");
    return { code, out: this.out, err: this.err };
  }
}
