/** Asks a workload again and again, at the address that is published at that moment, and counts what fails. */
import { readFileSync } from "node:fs";

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

/** Runs until `stop` is called, which returns what was seen. */
export function startProber(outputsFile: string): () => Promise<Probe> {
  let stopped = false;
  const failures: string[] = [];
  const versions: string[] = [];
  let requests = 0;
  const run = async () => {
    while (!stopped) {
      requests++;
      try {
        const url = publishedUrl(outputsFile);
        const answer = await fetch(`${url}/`, { signal: AbortSignal.timeout(2_000) });
        const { version } = (await answer.json()) as { version: string };
        if (!answer.ok) failures.push(`${url}: ${answer.status}`);
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
