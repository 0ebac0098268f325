/**
 * Plain terraform as many run it for their tenants: a directory and a state for each, three `terraform_data` in it, the
 * binary started for each thing to do. It reaches no network: that provider is part of the binary.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

const RUN_MS_MAX = 300_000;
/** The unit of /proc/PID/stat: USER_HZ. */
const TICK_MS = 10;

/** Absolute; undefined where the binary is not on the PATH. */
export function findTerraform(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders
    .map((folder) => join(folder, "terraform"))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Processor time of the runs, and how long they took together. */
export type Cost = Readonly<{ wallMs: number; cpuMs: number }>;

export class Terraform {
  readonly #binary: string;
  readonly #home: string;

  constructor(binary: string, home: string) {
    this.#binary = binary;
    this.#home = home;
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, "terraformrc"), "disable_checkpoint = true\n");
  }

  /** Directories, and their initialisation, which is not counted. */
  async prepare(tenants: readonly number[], resources: number): Promise<void> {
    const blocks = Array.from({ length: resources }, (_, n) => {
      return `resource "terraform_data" "file_${n}" {\n  input = "{\\"release\\": \${var.release}, \\"file\\": ${n}}"\n}\n`;
    });
    const text = ['variable "release" {\n  type = number\n}\n', ...blocks].join("\n");
    for (const tenant of tenants) {
      mkdirSync(this.#folder(tenant), { recursive: true });
      writeFileSync(join(this.#folder(tenant), "main.tf"), text);
    }
    for (const tenant of tenants) await this.#run(tenant, ["init", "-input=false"]);
  }

  apply(tenant: number, release: number): Promise<Cost> {
    return this.#run(tenant, ["apply", "-auto-approve", "-input=false", `-var=release=${release}`]);
  }

  /** Throws where something differs: its exit status is then 2. */
  plan(tenant: number, release: number): Promise<Cost> {
    const args = ["plan", "-detailed-exitcode", "-input=false", `-var=release=${release}`];
    return this.#run(tenant, args);
  }

  #folder(tenant: number): string {
    return join(this.#home, `tenant-${tenant}`);
  }

  /** A shell around it, whose own figures then hold what its child has used. */
  async #run(tenant: number, args: readonly string[]): Promise<Cost> {
    const startedAt = performance.now();
    const script = '"$@" >&2; code=$?; cat /proc/$$/stat; exit $code';
    const child = spawn("sh", ["-c", script, "sh", this.#binary, ...args, "-no-color"], {
      cwd: this.#folder(tenant),
      env: {
        PATH: process.env["PATH"],
        HOME: this.#home,
        TF_CLI_CONFIG_FILE: join(this.#home, "terraformrc"),
        CHECKPOINT_DISABLE: "1",
        TF_IN_AUTOMATION: "1",
      },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: RUN_MS_MAX,
    });
    const [stat, said, code] = await Promise.all([
      textOf(child.stdout),
      textOf(child.stderr),
      new Promise<number | null>((resolve) => child.once("close", resolve)),
    ]);
    if (code !== 0) {
      throw new Error(`terraform ${args[0]} ended with ${code}: ${said.slice(-2_000)}`);
    }
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const cpuMs = (Number(fields[13]) + Number(fields[14])) * TICK_MS;
    return { wallMs: performance.now() - startedAt, cpuMs };
  }
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
