/** A server process of the bench: asked over IPC, killed and started again. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { FromServer, ToServer } from "./messages.ts";

const ANSWER_MS_MAX = 180_000;

export type Answer<Type extends FromServer["type"]> = Extract<FromServer, { type: Type }>;

export class Server {
  readonly child: ChildProcess;

  /** `script` lies in this folder; its only argument is a file with its options. */
  constructor(script: string, optionsFile: string) {
    this.child = fork(join(import.meta.dirname, script), [optionsFile], {
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  next<Type extends FromServer["type"]>(type: Type): Promise<Answer<Type>> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => ended(new Error(`no ${type} in time`)), ANSWER_MS_MAX);
      const ended = (error: Error | undefined, message?: FromServer) => {
        clearTimeout(timer);
        this.child.off("message", take).off("exit", gone);
        if (error !== undefined) reject(error);
        else resolve(message as Answer<Type>);
      };
      const take = (message: FromServer) => {
        if (message.type === type) ended(undefined, message);
      };
      const gone = () => ended(new Error(`the server ended before it said ${type}`));
      this.child.on("message", take).on("exit", gone);
    });
  }

  ask<Type extends FromServer["type"]>(message: ToServer, type: Type): Promise<Answer<Type>> {
    const answer = this.next(type);
    this.child.send(message);
    return answer;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, "exit");
    this.child.kill(signal);
    await gone;
  }
}
