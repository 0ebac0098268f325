/**
 * Crash points of attempts over real files: one of the instance's own, and one of the host that was there before us. Both
 * are read without a pause meanwhile, and are one version as a whole at every moment.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { instanceDirectories } from "../../local/directories.ts";
import {
  type CrashScenario,
  describeCrashPoints,
  type Version,
} from "../../reconcile/crash-points.test-suite.ts";
import { CRASH_INSTANCE } from "../../reconcile/crash-world.test-world.ts";
import { describeRemovalPoints } from "../../reconcile/removal-points.test-suite.ts";
import { createWorld, namesBelow } from "./file.test-world.ts";

/** Enough that half of it could be seen. */
const LINES = 4_000;
const READ_AGAIN_MS = 3;

const contentOf = (version: string) => `${version}\n`.repeat(LINES);
const WHOLE: ReadonlySet<string> = new Set(["a", "b", "sick", "theirs"].map(contentOf));

function scenario(): CrashScenario {
  const world = createWorld();
  const own = join(instanceDirectories(world.stateDir, CRASH_INSTANCE).run, "../files");
  const settings = join(own, "etc/app.json");
  const shared = join(world.root, "app.conf");
  const blocked = join(world.root, "blocked");
  writeFileSync(shared, contentOf("theirs"));
  mkdirSync(blocked);
  const of = (version: Version) => [
    { id: "settings", spec: { path: "etc/app.json", content: contentOf(version), mode: "640" } },
    {
      ...{ id: "shared", dependsOn: ["settings"] },
      spec: { path: shared, content: contentOf(version), mode: version === "a" ? "604" : "644" },
    },
  ];
  const last = (path: string) => ({
    ...{ id: "last", dependsOn: ["shared"] },
    spec: { path, content: "x" },
  });
  const readers = [new Reader(shared)];
  return {
    driver: world.driver,
    context: world.context,
    resources: {
      a: [...of("a"), last("last")],
      b: [...of("b"), last("last")],
      // Everything but the last one, which stands in the way of a folder, is written and has to come back.
      sick: [...of("sick"), last(blocked)],
    },
    leftovers: async () => {
      if (readers.length === 1) readers.push(new Reader(settings));
      const names = [...namesBelow(world.root), ...namesBelow(own)].sort();
      const lives = await world.observe();
      const changed = lives.filter(
        ({ outputs, fields }) => fields?.["content"] !== outputs["digest"],
      );
      return [
        ...names.filter((name) => name.includes(".holdfast-") && !name.endsWith(".before")),
        ...(names.filter((name) => name.endsWith(".before")).length === 1 ? [] : ["no .before"]),
        ...changed.map(({ handle }) => `${handle} is not as it was written`),
        ...readers.flatMap((reader) => reader.torn),
      ];
    },
    leftAfterRemoval: async () => [
      ...(readFileSync(shared, "utf8") === contentOf("theirs") ? [] : ["theirs is not back"]),
      ...namesBelow(world.root).filter((name) => name !== "app.conf" && name !== "blocked/"),
      ...(existsSync(own) ? namesBelow(own) : []),
      ...readers.flatMap((reader) => reader.torn),
    ],
    end: async () => {
      for (const reader of readers) await reader.end();
      await world.driver().drop(CRASH_INSTANCE, world.context);
      const left = [readFileSync(shared, "utf8") === contentOf("theirs"), namesBelow(world.root)];
      world.end();
      if (JSON.stringify(left) !== '[true,["app.conf","blocked/"]]') {
        throw new Error(`not as it was before us: ${JSON.stringify(left)}`);
      }
    },
  };
}

describeCrashPoints("file", scenario);
describeRemovalPoints("file", scenario, { keepsData: false });

/** Reads one file again and again; notes what was not there or not whole. */
class Reader {
  readonly torn: string[] = [];
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  constructor(path: string) {
    this.#ended = this.#run(path);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #run(path: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const text = readFileSync(path, "utf8");
        if (!WHOLE.has(text)) this.torn.push(`${path}: ${text.length} characters of no version`);
      } catch (error) {
        this.torn.push(String(error));
      }
      await new Promise((resolve) => {
        setTimeout(resolve, READ_AGAIN_MS);
      });
    }
  }
}
