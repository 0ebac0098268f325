/** Runs npm or pnpm for the set-up, keeps the end of what it prints, and turns a failure into one sentence. */
import { spawn } from "node:child_process";
import { explainFailure, SetupProblem } from "./problem.mjs";

/** Enough for the error block of npm or pnpm. */
const OUTPUT_CHARS_MAX = 16_384;
const PARENT_POLL_MS = 500;

/**
 * @typedef {{command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv, program: string, what: string}} Command
 *   `program` and `what` name the thing in the sentence of a failure: "npm" could not install "Node and pnpm".
 */

/**
 * Resolves when the command ended well; throws a SetupProblem otherwise. Stops the command when the process that
 * asked for it is gone: npm passes SIGTERM to its shell alone, and an install must not go on behind the prompt.
 * @param {Command} command
 * @returns {Promise<void>}
 */
export function run({ command, args, cwd, env, program, what }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    /** @param {Buffer} chunk */
    const keep = (chunk) => {
      output = (output + chunk.toString("utf8")).slice(-OUTPUT_CHARS_MAX);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (process.ppid !== parent) child.kill("SIGTERM");
    }, PARENT_POLL_MS);
    child.once("error", (error) => {
      clearInterval(watch);
      reject(new SetupProblem(startFailure(program, error)));
    });
    child.once("close", (code, signal) => {
      clearInterval(watch);
      if (code === 0) return resolve();
      const exit = signal === null ? `exit code ${code}` : `signal ${signal}`;
      const sentence = explainFailure({ program, what, directory: cwd, exit, output });
      if (sentence.endsWith("is above.")) process.stderr.write(`${output.trimEnd()}\n`);
      reject(new SetupProblem(sentence));
    });
  });
}

/**
 * @param {string} program
 * @param {NodeJS.ErrnoException} error
 */
function startFailure(program, error) {
  if (error.code === "ENOENT") {
    return `${program} is not on the PATH and the set-up needs it; install it (it comes with Node) and run the command again.`;
  }
  return `${program} could not be started (${error.code ?? error.message}); check that it runs by itself.`;
}
