/** What the spec of a container may hold. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { describe, expect, it } from "vitest";
import { type Loose, violationsOf } from "../blueprint.fixture.ts";
import { CONTAINER_KIND, checkContainerSpec, readContainerSpec } from "./container.ts";

const REFERENCE = `registry.example.com/etl/worker@sha256:${"a".repeat(64)}`;

const sound = (): Loose => ({
  image: { reference: REFERENCE, credentials: "${secrets.registry}" },
  argv: ["/bin/worker", "--n", 5],
  env: { A: "1", B: 2 },
  secretFiles: { dsn: "${secrets.source_dsn}" },
  ports: { http: { container: 8080 }, dns: { container: 53, protocol: "udp", publish: false } },
  volumes: { state: { path: "/var/lib/state" } },
  mounts: [{ source: "/srv/etl/in", path: "/in" }],
  tmpfs: [{ path: "/tmp" }],
  readiness: { http: { port: "http", path: "/healthz" } },
  liveness: { image: {} },
  limits: { cpuMillis: 500, memoryMib: 64, pids: 50 },
  gpus: { count: 1, capabilities: ["compute"] },
});

function problemsOf(change: (spec: Loose) => void): string {
  const spec = sound();
  change(spec);
  return checkContainerSpec(spec, "spec")
    .map(({ path, message }) => `${path}: ${message}`)
    .join("\n");
}

describe("readContainerSpec", () => {
  it("fills defaults in", () => {
    expect(readContainerSpec(sound(), "spec")).toEqual({
      image: { reference: REFERENCE, credentials: "registry" },
      argv: ["/bin/worker", "--n", "5"],
      env: { A: "1", B: "2" },
      secretFiles: { dsn: "source_dsn" },
      ports: {
        http: { container: 8080, protocol: "tcp", isPublished: true },
        dns: { container: 53, protocol: "udp", isPublished: false },
      },
      volumes: { state: { path: "/var/lib/state", readOnly: false } },
      mounts: [{ source: "/srv/etl/in", path: "/in", readOnly: true }],
      tmpfs: [{ path: "/tmp", mib: 64 }],
      readiness: {
        http: { port: "http", path: "/healthz" },
        ...{ intervalMs: 200, timeoutMs: 1000, deadlineMs: 30_000 },
      },
      liveness: { image: {}, intervalMs: 5000, timeoutMs: 2000, failures: 3 },
      limits: { cpuMillis: 500, memoryMib: 64, pids: 50 },
      requests: {},
      user: { uid: 65_532, gid: 65_532 },
      readOnlyRoot: true,
      gpus: { driver: "nvidia", count: 1, deviceIds: [], capabilities: ["gpu", "compute"] },
      stop: { signal: "SIGTERM", graceMs: 10_000, drainMs: 0 },
      restart: { baseMs: 500, capMs: 30_000, policy: "agent" },
    });
  });

  it("throws all problems at once", () => {
    const found = violationsOf(() => readContainerSpec({ argv: "x", envs: {} }, "spec"));
    expect(found).toHaveLength(3);
  });
});

describe("checkContainerSpec", () => {
  it.each([
    ["privileged", true],
    ["hostPID", true],
    ["hostNetwork", true],
    ["networkMode", "host"],
    ["hostIPC", true],
    ["capAdd", ["SYS_ADMIN"]],
    ["cap_add", ["SYS_ADMIN"]],
    ["seccomp", "unconfined"],
    ["securityOpt", ["seccomp=unconfined"]],
    ["devices", ["/dev/sda:/dev/sda"]],
    ["noNewPrivileges", false],
  ])("refuses %s by its name and quotes the restricted profile", (field, value) => {
    const found = problemsOf((s) => (s[field] = value));
    expect(found).toContain(`spec.${field}: not allowed`);
    expect(found).toContain("no new privileges, all capabilities dropped, the default seccomp");
  });

  it.each([
    ["root", "0"],
    ["root's group", "1000:0"],
    ["a number beyond the kernel's", "4294967295"],
    ["a name", "etl"],
    ["a number that is no text", 1000],
  ])("refuses the user that is %s", (_, user) => {
    expect(problemsOf((s) => (s.user = user))).toContain("spec.user:");
  });

  it.each([
    ["a tag", "registry.example.com/etl/worker:1.4", "digest required"],
    ["no tag at all", "registry.example.com/etl/worker", "digest required"],
    ["tag and digest", `registry.example.com/etl/worker:1@sha256:${"a".repeat(64)}`, "not of this"],
    ["no registry", `worker@sha256:${"a".repeat(64)}`, "not of this form"],
    ["a short digest", "registry.example.com/worker@sha256:abc", "not of this form"],
  ])("refuses an image by %s", (_, reference, says) => {
    expect(problemsOf((s) => (s.image = { reference }))).toContain(`spec.image.reference: ${says}`);
  });

  it.each([
    ["text", "nginx:latest", "spec.image: needs a digest"],
    ["two sources", { reference: REFERENCE, artefact: "worker" }, "two sources"],
    ["no source", {}, "no source"],
    ["credentials in clear", { reference: REFERENCE, credentials: "a:b" }, "not a reference"],
    ["credentials of an archive", { artefact: "w", credentials: "${secrets.r}" }, "no registry"],
  ])("refuses an image that is %s", (_, image, says) => {
    expect(problemsOf((s) => (s.image = image))).toContain(says);
  });

  it.each([
    ...["/", "/etc", "/etc/ssl", "/var/run/docker.sock", "/run/docker.sock", "/proc/1/root"],
    ...["/sys", "/dev/kmsg", "/var/lib/docker/volumes", "//etc", "/srv/../etc", "/srv/etl/"],
    ...["srv", "/srv/./x", "/var", "/home", "/srv/a:ro"],
  ])("refuses the host path %s", (source) => {
    const found = problemsOf((s) => (s.mounts = [{ source, path: "/in" }]));
    expect(found).toContain("spec.mounts[0].source: host path not allowed");
  });

  it.each(["/", "/proc/x", "/sys", "/dev/shm", "/run/holdfast/secrets", "data", "/a/../b"])(
    "refuses to mount a volume at %s",
    (path) => {
      const found = problemsOf((s) => (s.volumes = { state: { path } }));
      expect(found).toContain("spec.volumes.state.path:");
    },
  );

  it("refuses two mounts at one place", () => {
    const found = problemsOf((s) => (s.tmpfs = [{ path: "/in" }]));
    expect(found).toContain("spec.tmpfs[0].path: spec.mounts[0].path is there already");
  });

  it.each([
    ["port 0", { container: 0 }],
    ["port 65536", { container: 65_536 }],
    ["a fixed port below 1024", { container: 80, fixed: 80 }],
    ["a fixed port as text", { container: 80, fixed: "8080" }],
    ["a fixed port that is not published", { container: 80, fixed: 8080, publish: false }],
    ["a port that another has", { container: 53, protocol: "udp" }],
    ["no port inside", {}],
  ])("refuses %s", (_, port) => {
    expect(problemsOf((s) => (s.ports.more = port))).toContain("spec.ports.more.");
  });

  it("refuses one fixed port twice", () => {
    const found = problemsOf((s) => {
      s.ports = { a: { container: 1, fixed: 8080 }, b: { container: 2, fixed: 8080 } };
      s.readiness = undefined;
    });
    expect(found).toContain("spec.ports.b.fixed: used twice");
  });

  it.each([
    ["CPU -1", { cpuMillis: -1 }],
    ["CPU 1e308", { cpuMillis: 1e308 }],
    ["CPU 0.0001", { cpuMillis: 0.0001 }],
    ["memory 1Ki", { memoryMib: "1Ki" }],
    ["memory 1Ei", { memoryMib: "1Ei" }],
    ["less memory than the engine takes", { memoryMib: 5 }],
    ["no process", { pids: 0 }],
  ])("refuses the limit %s", (_, limits) => {
    expect(problemsOf((s) => (s.limits = limits))).toContain("spec.limits.");
  });

  it("refuses a limit below what is requested", () => {
    const found = problemsOf((s) => (s.requests = { memoryMib: 65 }));
    expect(found).toContain("spec.requests.memoryMib: more than the limit");
  });

  it.each(["A=B", "A\nB", "LD_PRELOAD", "NODE_OPTIONS", "HOLDFAST_X", "PATH"])(
    "denies the variable %j",
    (name) => {
      expect(problemsOf((s) => (s.env[name] = "1"))).toContain("spec.env");
    },
  );

  it.each([
    ["text", "/bin/worker; id", "a command as text"],
    ["a program of PATH", ["worker"], "PATH is never searched"],
    ["a path that leaves", ["/bin/../x"], "not a program of the image"],
    ["nothing", [], "the program first"],
  ])("refuses a command that is %s", (_, argv, says) => {
    expect(problemsOf((s) => (s.argv = argv))).toContain(says);
  });

  it.each([
    ["a shell", { exec: { argv: ["/bin/sh", "-c", "true"] } }, "a shell"],
    ["another host", { http: { port: "http", path: "//169.254.169.254/" } }, "spec.readiness"],
    ["a port that is not there", { tcp: { port: "smtp" } }, "not declared"],
    ["interval 0", { tcp: { port: "http" }, intervalMs: 0 }, "out of range"],
    ["a timeout beyond the deadline", { tcp: { port: "http" }, timeoutMs: 60_000 }, "longer than"],
    ["two kinds", { tcp: { port: "http" }, image: {} }, "needs one kind of check"],
  ])("refuses a probe by %s", (_, readiness, says) => {
    expect(problemsOf((s) => (s.readiness = readiness))).toContain(says);
  });

  it.each([
    ["nothing", {}],
    ["a count and ids", { count: 1, deviceIds: ["0"] }],
    ["no device", { count: 0 }],
    ["a word that the engine does not know", { count: "all", capabilities: ["sudo"] }],
  ])("refuses GPUs by %s", (_, gpus) => {
    expect(problemsOf((s) => (s.gpus = gpus))).toContain("spec.gpus");
  });
});

describe("CONTAINER_KIND", () => {
  const spec = sound();

  it.each([
    [["image", "reference"], true],
    [["image", "credentials"], false],
    [["argv", 0], true],
    [["argv", 1], false],
    [["env", "A"], false],
    [["mounts", 0, "source"], true],
    [["volumes", "state", "path"], true],
    [["user"], true],
    [["readOnlyRoot"], true],
    [["gpus", "count"], true],
    [["limits", "memoryMib"], false],
    [["restart", "policy"], true],
  ])("says of %j whether it is static: %s", (at, isStatic) => {
    expect(CONTAINER_KIND.isStatic(spec, at)).toBe(isStatic);
  });

  it("lets secrets stand in files and as credentials only", () => {
    const places = [
      ["secretFiles", "dsn"],
      ["image", "credentials"],
      ["env", "A"],
      ["argv", 1],
    ];
    expect(places.map((at) => CONTAINER_KIND.mayHoldSecret(at))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it("gives out the name of the copy and the ports that are published", () => {
    expect([...CONTAINER_KIND.outputsOf(spec).keys()]).toEqual(["host", "ports.http"]);
  });
});
