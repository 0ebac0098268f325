/** A Compose file as a blueprint, and what of it is refused by name, line and reason. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { parseBlueprint } from "@holdfast/shared/blueprint/draft.ts";
import { parseYaml } from "@holdfast/shared/yaml.ts";
import { beforeEach, describe, expect, it } from "vitest";
import { TestTerminal } from "./terminal.fixture.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const COMPOSE = `
services:
  web:
    image: registry.example.com/etl/web:1.4@${DIGEST}
    entrypoint: [/bin/web]
    command: [--port, "8080"]
    environment: { MODE: fast, COSTS: "5$$" }
    ports: ["127.0.0.1:18080:8080", "9090/udp"]
    expose: ["7000"]
    volumes: ["rows:/data", "/srv/etl/in:/in:ro", { type: tmpfs, target: /tmp, tmpfs: { size: 67108864 } }]
    depends_on: { db: { condition: service_healthy } }
    healthcheck: { test: [CMD, /bin/check], interval: 5s, timeout: 1s, retries: 3 }
    deploy:
      resources:
        limits: { cpus: "0.5", memory: 512M, pids: 100 }
        reservations: { memory: 256M, devices: [{ driver: nvidia, count: 1, capabilities: [gpu] }] }
    restart: unless-stopped
    stop_grace_period: 1m30s
    user: "1000:1000"
    read_only: true
    secrets: [dsn]
  db:
    build: ./db
    user: "70"
    volumes: [{ type: volume, source: rows, target: /rows }]
volumes: { rows: {} }
secrets: { dsn: { external: true } }
`;

let user: TestTerminal;
beforeEach(() => {
  user = new TestTerminal();
});

async function imported(text: string, ...more: readonly string[]) {
  user.file("compose.yaml", text);
  return await user.run(
    "release",
    "import-compose",
    "-f",
    "compose.yaml",
    "--product",
    "etl",
    ...more,
  );
}

describe("release import-compose", () => {
  it("makes a sound blueprint of services, volumes and secrets", async () => {
    const { code, out, err } = await imported(COMPOSE, "--archive", "db=db.tar");
    expect({ code, err }).toMatchObject({ code: 0 });
    const { blueprint, artefacts } = parseBlueprint(parseYaml(out, "blueprint"));
    expect(artefacts).toEqual([{ name: "db", path: "db.tar" }]);
    const [db, web] = blueprint.resources;
    expect(db?.spec).toEqual({
      ...{ image: { artefact: "db" }, user: "70", readOnlyRoot: false },
      volumes: { rows: { path: "/rows" } },
    });
    expect(web?.dependsOn).toEqual(["db"]);
    expect(web?.spec).toEqual({
      image: { reference: `registry.example.com/etl/web@${DIGEST}` },
      argv: ["/bin/web", "--port", "8080"],
      env: { MODE: "fast", COSTS: "5$" },
      secretFiles: { dsn: "${secrets.dsn}" },
      ports: {
        "port-8080": { container: 8080, fixed: 18_080 },
        "port-9090-udp": { container: 9090, protocol: "udp" },
        "port-7000": { container: 7000, publish: false },
      },
      volumes: { rows: { path: "/data" } },
      mounts: [{ source: "/srv/etl/in", path: "/in", readOnly: true }],
      tmpfs: [{ path: "/tmp", mib: 64 }],
      readiness: { exec: { argv: ["/bin/check"] }, intervalMs: 5000, timeoutMs: 1000 },
      liveness: { exec: { argv: ["/bin/check"] }, intervalMs: 5000, timeoutMs: 1000, failures: 3 },
      limits: { cpuMillis: 500, memoryMib: 512, pids: 100 },
      requests: { memoryMib: 256 },
      gpus: { driver: "nvidia", count: 1, capabilities: ["gpu"] },
      user: "1000:1000",
      stop: { graceMs: 90_000 },
      restart: { policy: "always" },
    });
  });

  it("says what is carried over and differs all the same, by line", async () => {
    const { err } = await imported(COMPOSE, "--archive", "db=db.tar");
    expect(err).toContain("differs: compose.yaml:8: services.web.ports.1: published on 127.0.0.1");
    expect(err).toContain("services.web.secrets.0: it is in /run/holdfast/secrets/dsn");
  });

  it.each([
    ["image: nginx:1.27", "image", "digest required"],
    ["build: .", "build", "docker save, then --archive SERVICE=FILE"],
    ["privileged: true", "privileged", "restricted profile"],
    ["network_mode: host", "network_mode", "restricted profile"],
    ["cap_add: [SYS_ADMIN]", "cap_add", "restricted profile"],
    ["command: echo hi", "command", "a shell would split"],
    ["command: [x]", "command", "write entrypoint, too"],
    ["environment: [HOME]", "environment.0", "taken from the environment"],
    ["environment: { A: '${B}' }", "environment.A", "a variable of the environment"],
    ["env_file: .env", "env_file", "write the variables into environment"],
    ["ports: ['8000-8010:80']", "ports.0", "not one port"],
    ["ports: ['0.0.0.0:8080:80']", "ports.0", "127.0.0.1 alone"],
    ["volumes: ['./conf:/conf']", "volumes.0", "release it as an artefact"],
    ["volumes: ['/conf']", "volumes.0", "give it a name"],
    ["volumes: ['other:/conf']", "volumes.0", "is not declared"],
    ["healthcheck: { test: curl -f http://x }", "healthcheck.test", "a command for a shell"],
    ["deploy: { replicas: 3 }", "deploy.replicas", "one container"],
    ["restart: on-failure:5", "restart", "is started again"],
    ["restart: 'no'", "restart", "of kind job"],
    ["labels: { a: b }", "labels", "not carried over"],
    ["mem_limit: 100k", "mem_limit", "no whole number"],
  ])("refuses %s by name, line and reason", async (field, name, reason) => {
    const image =
      field.startsWith("image") || field.startsWith("build")
        ? ""
        : `    image: r.example.com/a@${DIGEST}\n`;
    const { code, out, err } = await imported(`services:\n  web:\n${image}    ${field}\n`);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(
      new RegExp(
        `compose\\.yaml:${image === "" ? 3 : 4}: services\\.web\\.${name.replace(".", "\\.")}`,
      ),
    );
    expect(err).toContain(reason);
  });

  it.each([
    ["networks: { back: {} }", "networks.back", "one private network"],
    ["volumes: { rows: { driver: nfs } }", "volumes.rows.driver", "on its host's disk"],
    ["configs: { a: { file: a } }", "configs", "resources of kind file"],
  ])("refuses at the top %s", async (field, name, reason) => {
    const { code, err } = await imported(
      `services: { web: { image: r.example.com/a@${DIGEST} } }\n${field}\n`,
    );
    expect(code).toBe(2);
    expect(err).toContain(`compose.yaml:2: ${name}`);
    expect(err).toContain(reason);
  });
});
