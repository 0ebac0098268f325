/** What containers say in an attempt, on a real engine: one that never gets ready, a job, and an image that is loaded. */
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ShowOutputSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { expect, it } from "vitest";
import {
  createWorld,
  describeOnEngine,
  eventually,
} from "../drivers/container/container.test-world.ts";
import { writeImage } from "../drivers/container/images.test-world.ts";
import type { JsonObject } from "../drivers/driver.ts";
import { createJobWorld, words } from "../drivers/job/container-job.test-world.ts";
import type { CrashScenario } from "../reconcile/crash-points.test-suite.ts";
import { beginLife, CRASH_INSTANCE } from "../reconcile/crash-world.test-world.ts";
import * as attempts from "../store/attempts.ts";
import { showOutput } from "./show.ts";

/** What the steps of one attempt at this spec said. */
async function saidBy(
  kind: string,
  its: Pick<CrashScenario, "driver" | "others" | "context" | "end">,
  image: string,
  spec: JsonObject,
) {
  const artefacts = { worker: image };
  const a = [{ id: "it", spec: { image: { artefact: "worker" }, ...spec } }];
  const resources = { a, b: a, sick: a };
  const secrets = { dsn: "postgres://hunter2" };
  const life = beginLife(kind, { ...its, artefacts, resources, secrets });
  try {
    life.wish(1n, "a");
    const { store, engine } = life;
    const record = await eventually("it has ended", () => {
      const found = attempts.find(store, CRASH_INSTANCE);
      return found?.phase === "ENDED" ? found : undefined;
    });
    const ask = create(ShowOutputSchema, { instanceId: CRASH_INSTANCE, follow: true });
    const deps = { store, outputs: engine.outputs, clock: its.context.clock, stays: undefined };
    const said: string[] = [];
    for await (const { lines } of showOutput(deps, ask, new AbortController().signal)) {
      said.push(...lines.map(({ step, text }) => `${step}: ${text}`));
    }
    return { said, state: record.state };
  } finally {
    await life.end();
    await its.end();
  }
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: an expression of a blueprint
const SECRET = { secretFiles: { dsn: "${secrets.dsn}" } };

describeOnEngine("what is said of", (its) => {
  it("a container that never gets ready are its last words, without its secret", async () => {
    const world = createWorld(its.engine(), its.image());
    const { said, state } = await saidBy("container", world, its.image(), {
      ...SECRET,
      env: { MODE: "leaky" },
      ports: { http: { container: 8080 } },
      readiness: { http: { port: "http", path: "/nowhere" }, intervalMs: 50, deadlineMs: 1_500 },
      stop: { graceMs: 1_000 },
    });
    expect(state).toBe("RETURNED");
    expect(said).toEqual(["it/start: hello from 1.0.0", "it/start: the dsn is [redacted]"]);
  });

  it("a job in a container is what it prints", async () => {
    const world = createJobWorld(its.engine(), its.image(), { instanceId: CRASH_INSTANCE });
    const others = () => [world.containers()];
    const { said, state } = await saidBy("job", { ...world, others }, its.image(), {
      ...SECRET,
      ...{ argv: [...words("leaky")], volumes: { rows: { path: "/data" } } },
      ...{ effect: "none", deadlineMs: 20_000, stop: { graceMs: 1_000 } },
    });
    expect(state).toBe("COMMITTED");
    expect(said).toEqual(["it/run: did leaky", "it/run: the dsn is [redacted]"]);
  });

  it("an image is how far it is", async () => {
    const world = createWorld(its.engine(), its.image());
    const file = join(world.stateDir, "image.tar");
    await writeImage(file, { label: "another" });
    const said: string[] = [];
    const context = { ...world.context, say: (line: string) => void said.push(line) };
    try {
      const wanted = world.wanted({ artefacts: new Map([["worker", file]]) });
      await world.driver().prepare(wanted, context);
    } finally {
      await world.end();
    }
    expect(said[0]).toBe("image: loading worker");
    expect(said.slice(1).every((line) => line.startsWith("image: "))).toBe(true);
  });
});
