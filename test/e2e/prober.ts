/** Asks a workload again and again, at the address that is published at that moment, and counts what fails. */
import { readFileSync } from "node:fs";

const REQUEST_MS_MAX = 2_000;
const FAILURES_MAX = 100;

export type Probe = Readonly<{
  requests: number;
  failures: readonly string[];
  /** Release versions that answered, in order of appearance. */
  versions: readonly string[];
}>;

type Published = Readonly<{ outputs: Readonly<{ url?: string }> }>;

export function publishedUrl(outputsFile: string): string {
  const { outputs } = JSON.parse(readFileSync(outputsFile, "utf8")) as Published;
  if (outputs.url === undefined) throw new Error(`${outputsFile} publishes no url`);
  return outputs.url;
}

/** 1.0.0 does not say its version yet: that is the visible change of 1.1.0. */
export async function shownVersion(outputsFile: string): Promise<string> {
  const url = publishedUrl(outputsFile);
  const answer = await fetch(`${url}/`, { signal: AbortSignal.timeout(REQUEST_MS_MAX) });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return ((await answer.json()) as { version?: string }).version ?? "1.0.0";
}

/** Runs until `stop` is called, which returns what was seen, or until too much failed. */
export function startProber(outputsFile: string): () => Promise<Probe> {
  let stopped = false;
  const failures: string[] = [];
  const versions: string[] = [];
  let requests = 0;
  const run = async () => {
    while (!stopped && failures.length < FAILURES_MAX) {
      requests++;
      try {
        const version = await shownVersion(outputsFile);
        if (versions.at(-1) !== version) versions.push(version);
      } catch (error) {
        failures.push(`${error} ${error instanceof Error ? error.cause : ""}`);
      }
    }
  };
  const done = run();
  return async () => {
    stopped = true;
    await done;
    return { requests, failures, versions };
  };
}
