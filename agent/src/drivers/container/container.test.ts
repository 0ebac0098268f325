/** What the container driver does beyond the contract, by real containers of a real engine. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import type { Wanted } from "../driver.ts";
import {
  describeOnEngine,
  eventually,
  getFrom,
  INSTANCE,
  portOf,
  refusal,
  type World,
} from "./container.test-world.ts";

import { BUSYBOX } from "./images.test-world.ts";

let world: World;

async function ended(wanted: Wanted) {
  await world.carryOut(world.driver().steps([], undefined, wanted, 0), wanted);
  return await eventually("it has ended", async () => {
    const [live] = await world.observe();
    return live?.phase === "exited" ? live : undefined;
  });
}

describeOnEngine(
  "a container",
  (its) => {
    beforeEach(() => {
      world = its.world();
    });

    it("runs in the restricted profile and sees no more than it is given", async () => {
      const live = await world.running(world.wanted());
      const { HostConfig, Config } = await world.inspect(live);
      expect(HostConfig).toMatchObject({
        ...{ Privileged: false, CapDrop: ["ALL"], ReadonlyRootfs: true, IpcMode: "private" },
        ...{ SecurityOpt: ["no-new-privileges:true"], CapAdd: null, Devices: null, PidMode: "" },
      });
      expect(Config.User).toBe("65532:65532");
      const about = await world.get(live, "/cgi-bin/about");
      expect(about).toContain("uid=65532 gid=65532");
      expect(about).toMatch(/CapEff:\s0{16}\n/);
      expect(about).toMatch(/CapBnd:\s0{16}\n/);
      expect(about).toMatch(/NoNewPrivs:\s1\n/);
      expect(about).toMatch(/Seccomp:\s2\n/);
      expect(about).toContain("overlay / overlay ro");
    });

    it("gets its limits, and is told of the one that ends it", async () => {
      const limits = { cpuMillis: 250, memoryMib: 32, pids: 20 };
      const live = await world.running(world.wanted({ with: { limits } }));
      const { HostConfig } = await world.inspect(live);
      expect(HostConfig).toMatchObject({
        ...{ NanoCpus: 250_000_000, PidsLimit: 20 },
        ...{ Memory: 32 * 1_048_576, MemorySwap: 32 * 1_048_576 },
      });
      const digest = `sha256:${"3".repeat(64)}`;
      const eater = world.wanted({ digest, with: { limits, env: { MODE: "eater" } } });
      await world.carryOut(world.driver().steps([], undefined, eater, 0), eater);
      const message = await eventually("it was ended", async () => {
        return (await world.observe()).find((each) => each.phase === "exited")?.message;
      });
      expect(message).toContain("killed for want of memory");
    });

    it("has its secrets in memory alone, never in what the engine tells", async () => {
      const secret = "postgres://etl:hunter2@db/etl";
      const wanted = world.wanted({
        secrets: new Map([["source_dsn", secret]]),
        with: { secretFiles: { dsn: "${secrets.source_dsn}" }, env: { MODE: "leaky" } },
      });
      const live = await world.running(wanted);
      expect(JSON.stringify(await world.inspect(live))).not.toContain("hunter2");
      expect(await world.driver().logs(live, 10, world.context)).toContain("the dsn is [redacted]");
      const files = readdirSync(world.host.memoryDir, { recursive: true, withFileTypes: true });
      const file = files.find(({ name }) => name === "dsn");
      expect(readFileSync(join(file?.parentPath ?? "", "dsn"), "utf8")).toBe(secret);
      await world.driver().drop(INSTANCE, world.context);
      expect(readdirSync(world.host.memoryDir, { recursive: true }).join()).not.toContain("dsn");
    });

    it("writes to its volume, which outlives it and belongs to its user", async () => {
      const wanted = world.wanted({ with: { volumes: { rows: { path: "/data" } } } });
      const live = await world.running(wanted);
      const [kept] = (await world.inspect(live)).Mounts.filter(({ Type }) => Type === "volume");
      writeFileSync(join(kept?.Source ?? "", "sick"), "");
      const health = () => world.driver().health(live, wanted, world.context);
      expect((await health()).message).toContain("503");
      await world.driver().drop(INSTANCE, world.context);
      expect(existsSync(join(kept?.Source ?? "", "sick"))).toBe(true);
      expect(await world.driver().kept(world.context)).toMatchObject([{ name: "rows" }]);
    });

    it("is told of a new seat list where it listens for it", async () => {
      const wanted = world.wanted({ with: { env: { MODE: "hup" } } });
      const { seatsFile } = world.context.directories(INSTANCE);
      mkdirSync(dirname(seatsFile), { recursive: true });
      writeFileSync(seatsFile, '{"seats":[]}');
      const live = await world.running(wanted);
      writeFileSync(seatsFile, '{"seats":["new"]}');
      const order = { resourceId: "worker", kind: "container", verb: "signal" };
      const input = { instance: INSTANCE, signal: "SIGHUP" };
      const { message } = await world.driver().run({ ...order, input }, world.known(wanted));
      expect(message).toBe("SIGHUP to 1 of 1 copies");
      await eventually("it was told", async () => {
        const lines = await world.driver().logs(live, 5, world.context);
        return lines.includes('told by SIGHUP, {"seats":["new"]}') || undefined;
      });
    });

    it("says how it ended and what it said last, also to an agent that was away", async () => {
      const live = await ended(world.wanted({ with: { env: { MODE: "crash" } } }));
      // What goes to two pipes comes in no order.
      const [how = "", said = ""] = live.message.split(": ");
      expect([how, said.split(" | ").sort()]).toEqual([
        "exited with status 3",
        ["cannot go on", "hello from 1.0.0"],
      ]);
      expect(live.exitedAt).toBeGreaterThan(0);
      expect((await world.observe())[0]).toEqual(live);
      const [again] = world.driver().steps([live], undefined, world.wanted(), live.exitedAt ?? 0);
      expect(again?.notBefore).toBe((live.exitedAt ?? 0) + 50);
    });

    it("is ended by force where it does not end by itself", async () => {
      const stop = { graceMs: 200 };
      const wanted = world.wanted({ with: { env: { MODE: "stubborn" }, stop } });
      const live = await world.running(wanted);
      const [step] = world.driver().steps([live], wanted, undefined, 0);
      const [outcome] = step === undefined ? [] : await world.carryOut([step], wanted);
      expect(outcome?.message).toContain("did not end within 200 ms after SIGTERM; killed");
      expect(await world.observe()).toEqual([]);
    });

    it("fails its liveness probe by the image's own check, and is replaced", async () => {
      const wanted = world.wanted({
        with: {
          volumes: { rows: { path: "/data" } },
          liveness: { image: {}, intervalMs: 100, failures: 2 },
        },
      });
      const live = await world.running(wanted);
      const [volume] = (await world.inspect(live)).Mounts.filter(({ Type }) => Type === "volume");
      writeFileSync(join(volume?.Source ?? "", "sick"), "");
      const failing = await eventually("it fails", async () => {
        await world.driver().health(live, wanted, world.context);
        const [seen] = await world.observe();
        return seen?.failing === true ? seen : undefined;
      });
      const [step] = world.driver().steps([failing], wanted, wanted, 0);
      expect(step?.summary).toContain("fails its liveness probe");
    });

    it("is asked by a program of its image, which is ended when it hangs", async () => {
      const exec = (argv: readonly string[]) => ({ exec: { argv }, timeoutMs: 500 });
      const well = world.wanted({ with: { readiness: exec(["/bin/test", "-d", "/www"]) } });
      const live = await world.running(well);
      const ask = (argv: readonly string[]) =>
        world
          .driver()
          .health(
            { ...live, handle: live.handle },
            world.wanted({ with: { readiness: { ...exec(argv), intervalMs: 500 } } }),
            world.context,
          );
      await eventually("it says no", async () => {
        const { state, message } = await ask(["/bin/cat", "/nowhere"]);
        return (state === "starting" && message.includes("/nowhere")) || undefined;
      });
      await eventually("it is late", async () => {
        const { message } = await ask(["/bin/sleep", "599"]);
        return message.includes("no answer within 500 ms") || undefined;
      });
      await eventually("nothing of it is left", async () => {
        const { Processes } = (await world.host.dock.ask(
          "top",
          world.context.signal,
          async (docker) => docker.getContainer((await world.inspect(live)).Id).top(),
        )) as { Processes: readonly (readonly string[])[] };
        return Processes.some((words) => words.join(" ").includes("599")) ? undefined : true;
      });
    });

    it("finds the others of its instance by their resource ids, and nobody else", async () => {
      const peer = (instanceId: string, resourceId: string, digit: string) =>
        world.wanted({ key: { instanceId, resourceId }, digest: `sha256:${digit.repeat(64)}` });
      const other = `ins_${"b".repeat(32)}`;
      const one = await world.running(world.wanted());
      await world.running(peer(INSTANCE, "db", "4"));
      await world.running(peer(other, "stranger", "5"));
      const reach = async (name: string) => {
        const run = world.host.dock.ask("exec", world.context.signal, async (docker) => {
          const container = docker.getContainer((await world.inspect(one)).Id);
          const Cmd = ["/bin/nslookup", name, "127.0.0.11"];
          const exec = await container.exec({ Cmd, AttachStdout: true });
          const stream = await exec.start({});
          stream.resume();
          await new Promise((resolve) => stream.once("end", resolve));
          return (await exec.inspect()).ExitCode;
        });
        return await run;
      };
      expect([await reach("db"), await reach(String(one.outputs["host"]))]).toEqual([0, 0]);
      expect(await reach("stranger")).not.toBe(0);
    });

    it("is told apart from what others run, and leaves their containers alone", async () => {
      const live = await world.running(world.wanted());
      await world.host.dock.ask("stranger", world.context.signal, async (docker) => {
        const { Image, Config } = await world.inspect(live);
        const Labels = { ...Config.Labels, "io.holdfast.instance": "ins_../../etc" };
        await docker.createContainer({ name: "stranger", Image, Labels });
      });
      expect(await world.observe()).toHaveLength(1);
      await world.driver().drop(INSTANCE, world.context);
      const left = await world.host.dock.ask("all", world.context.signal, async (docker) =>
        (await docker.listContainers({ all: true })).map(({ Names }) => Names[0]),
      );
      expect(left).toContain("/stranger");
      await world.host.dock.ask("stranger", world.context.signal, (docker) =>
        docker.getContainer("stranger").remove(),
      );
    });

    it("counts what the engine restarts as lives of their own", async () => {
      const restart = { policy: "always" };
      const wanted = world.wanted({ with: { restart, env: { MODE: "crash" } } });
      await world.carryOut(world.driver().steps([], undefined, wanted, 0), wanted);
      const live = await eventually("it was started again", async () => {
        const [seen] = await world.observe();
        return (seen?.restarts ?? 0) >= 1 ? seen : undefined;
      });
      expect(live.phase).toBe("running");
      const [step] = world.driver().steps([live], wanted, undefined, 0);
      if (step !== undefined) await world.carryOut([step], wanted);
      expect(await world.observe()).toEqual([]);
    });

    it("hands its output over to logs of its own, once each line, also after it is gone", async () => {
      const wanted = world.wanted({ with: { env: { MODE: "chatty" } } });
      const live = await world.running(wanted);
      const driver = world.driver();
      const read = async () => {
        const [file] = await driver.logFiles(world.context);
        if (file === undefined) return undefined;
        const from = { segment: 1, offset: 0 };
        return (await driver.readLog(file, from, 1 << 20, world.context)).data.toString();
      };
      const lines = await eventually("all lines", async () => {
        const text = (await read()) ?? "";
        return text.includes("\n1000\n") ? text.split("\n") : undefined;
      });
      expect(lines.slice(0, 3)).toEqual(["hello from 1.0.0", "1", "2"]);
      expect(lines.filter((line) => line === "500")).toHaveLength(1);
      const steps = driver.steps([live], wanted, undefined, 0);
      await world.carryOut(steps, wanted);
      expect(((await read()) ?? "").split("\n")).toHaveLength(lines.length);
    });

    it("has a fixed port once, and returns to the old one by starting it again", async () => {
      const fixed = (container: number) => ({ ports: { http: { container, fixed: 28_080 } } });
      const first = world.wanted({ with: fixed(8080) });
      const second = world.wanted({ digest: `sha256:${"2".repeat(64)}`, with: fixed(8080) });
      const old = await world.running(first);
      expect(portOf(old)).toBe(28_080);
      const [stop, start] = world.driver().steps([old], first, second, 0);
      expect([stop?.class, start?.class]).toEqual(["compensable", "reversible"]);
      expect(stop?.summary).toContain("needs its port 28080: no service until");
      await world.driver().prepare(second, world.context);
      const other = { instanceId: `ins_${"b".repeat(32)}`, resourceId: "worker" };
      const found = await refusal(world, world.wanted({ key: other, with: fixed(8080) }));
      expect(found.reason).toBe("PORT_IN_USE");
      expect(found.message).toContain(`port 28080 on 127.0.0.1 is held by worker of ${INSTANCE}`);
    });

    it("chooses another free port where somebody else has the first", async () => {
      const taken = 20_500;
      const at = ["-p", `127.0.0.1:${taken}`, "-h", world.mountable];
      const holder = spawn("nsenter", [its.engine().netns, BUSYBOX, "httpd", "-f", ...at]);
      const rolls = [0.9, (taken - 20_000 + 0.5) / (32_768 - 20_000)];
      const random = () => rolls.pop() ?? 0.9;
      const wanted = world.wanted();
      const [step] = world.driver().steps([], undefined, wanted, 0);
      try {
        await eventually("it is held", () =>
          getFrom(its.engine(), taken, "/").catch(() => undefined),
        );
        const outcome =
          step && (await world.driver().run(step, { ...world.known(wanted), random }));
        expect(outcome?.outputs).toMatchObject({ ports: { http: 31_491 } });
      } finally {
        holder.kill();
      }
      expect(await world.observe()).toHaveLength(1);
    });
  },
  { image: { healthCheck: ["CMD", "/bin/test", "!", "-e", "/data/sick"] } },
);
