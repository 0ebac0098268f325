/** The agent's settings: which there are and what each accepts. Pure; main.ts reads the file and the environment. */
import { filePathProblem, isAbsolute } from "@holdfast/shared/blueprint/kinds/file-path.ts";
import { invalid } from "@holdfast/shared/fault.ts";
import {
  type ListenAddress,
  readSettings,
  type SettingSources,
  type Settings,
  type SettingValues,
  settings,
} from "@holdfast/shared/settings.ts";
import { shown } from "@holdfast/shared/text.ts";

export const AGENT_ENV_PREFIX = "HOLDFAST_AGENT_";

/** Variables with the prefix that are no settings: the path of the file itself. */
export const AGENT_ENV_CONFIG = "HOLDFAST_AGENT_CONFIG";

const DENY_RULES_MAX = 100;
const PROCESS_USERS_MAX = 100;
const FILE_ROOTS_MAX = 100;
const CONTAINER_RULES_MAX = 100;

const SPECS = {
  state_dir: settings.required(settings.path()),
  sample_window_ms: settings.integer({ min: 1_000, max: 3_600_000, fallback: 60_000 }),
  reconcile_interval_ms: settings.integer({ min: 100, max: 60_000, fallback: 1_000 }),
  log_level: settings.choice(["debug", "info", "warn", "error"], { fallback: "info" }),
  deny: settings.list({ itemsMax: DENY_RULES_MAX }),
  local_secrets_dir: settings.path(),
  shutdown_ms_max: settings.integer({ min: 100, max: 600_000, fallback: 10_000 }),
  deletion_budget: settings.integer({ min: 0, max: 1_000, fallback: 5 }),
  metrics_listen: settings.listen({ isLoopbackOnly: true }),
  process_cgroups: settings.choice(["auto", "off"], { fallback: "auto" }),
  process_users: settings.list({ itemsMax: PROCESS_USERS_MAX }),
  file_roots: settings.list({ itemsMax: FILE_ROOTS_MAX }),
  container_socket: settings.path(),
  container_mounts: settings.list({ itemsMax: CONTAINER_RULES_MAX }),
  container_registries: settings.list({ itemsMax: CONTAINER_RULES_MAX }),
  container_image_mib_max: settings.integer({ min: 1, max: 1_048_576, fallback: 8_192 }),
  ship_logs: settings.boolean({ fallback: true }),
  show_output: settings.choice(["auto", "on", "off"], { fallback: "auto" }),
} as const;

export type AgentConfig = Readonly<{
  stateDir: string;
  sampleWindowMs: number;
  reconcileIntervalMs: number;
  logLevel: SettingValues<typeof SPECS>["log_level"];
  /** Further rules of the deny list; see consent/open.ts for their forms. */
  deny: readonly string[];
  localSecretsDir: string;
  shutdownMsMax: number;
  /** What holds data and may go out of service in one attempt without a person. */
  deletionBudget: number;
  metricsListen: ListenAddress | undefined;
  /** `off`: workloads get no control groups. */
  processCgroups: SettingValues<typeof SPECS>["process_cgroups"];
  /** Accounts of the host that a release may name for its processes and files. */
  processUsers: readonly string[];
  /** Folders of the host below which a release may write files, besides the instance's own. */
  fileRoots: readonly string[];
  /** Of the engine that runs containers; undefined: no containers here. */
  containerSocket: string | undefined;
  /** Folders of the host below which a release may mount. */
  containerMounts: readonly string[];
  /** Registries, or repositories of them, from which images may come besides those of releases. */
  containerRegistries: readonly string[];
  containerImageMibMax: number;
  /** Whether what workloads print leaves this host. */
  shipLogs: boolean;
  /** Why nobody at the hub is shown what steps say: the setting as it stands; undefined: they are, if they ask. */
  outputStays: string | undefined;
}>;

/** Throws INVALID_ARGUMENT `CONFIG_INVALID` that names every problem. */
export function readConfig(
  sources: Omit<SettingSources, "envPrefix" | "envIgnored">,
): Settings<AgentConfig> {
  const { values, warnings } = readSettings(SPECS, {
    ...sources,
    envPrefix: AGENT_ENV_PREFIX,
    envIgnored: [AGENT_ENV_CONFIG],
  });
  const config: AgentConfig = {
    stateDir: values.state_dir,
    sampleWindowMs: values.sample_window_ms,
    reconcileIntervalMs: values.reconcile_interval_ms,
    logLevel: values.log_level,
    deny: values.deny,
    localSecretsDir: values.local_secrets_dir ?? `${values.state_dir}/secrets`,
    shutdownMsMax: values.shutdown_ms_max,
    deletionBudget: values.deletion_budget,
    metricsListen: values.metrics_listen,
    processCgroups: values.process_cgroups,
    processUsers: values.process_users,
    fileRoots: soundRoots(values.file_roots),
    containerSocket: values.container_socket,
    containerMounts: values.container_mounts,
    containerRegistries: values.container_registries,
    containerImageMibMax: values.container_image_mib_max,
    shipLogs: values.ship_logs,
    outputStays: outputStays(values),
  };
  return { values: config, warnings: [...warnings, ...unknownRules(values.deny)] };
}

/** What is said of output in general holds for that of steps, where nothing is said of it. */
function outputStays(values: SettingValues<typeof SPECS>): string | undefined {
  if (values.show_output === "off") return "show_output: off";
  return values.show_output === "auto" && !values.ship_logs ? "ship_logs: false" : undefined;
}

/** A rule that nothing understands would be a lock that is open. */
function unknownRules(deny: readonly string[]): readonly string[] {
  return deny
    .filter((rule) => !/^(env|kind|product):.+$/.test(rule))
    .map((rule) => `deny: ${rule} matches nothing; forms: env:NAME, kind:KIND, product:NAME`);
}

/** One way to write each, so that what is below it is seen in the text. Throws INVALID_ARGUMENT `CONFIG_INVALID`. */
function soundRoots(roots: readonly string[]): readonly string[] {
  const found = roots.flatMap((root) => {
    const problem = isAbsolute(root) ? filePathProblem(root) : "not absolute";
    if (problem === undefined) return [];
    const message = `got ${shown(root)}: ${problem}; allowed: the real path of a folder such as /etc/etl`;
    return [{ path: "file_roots", message }];
  });
  if (found.length > 0) throw invalid("CONFIG_INVALID", found);
  return roots;
}
