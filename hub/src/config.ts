/** The hub's settings: which there are and what each accepts. Pure; main.ts reads the file and the environment. */
import { invalid } from "@holdfast/shared/fault.ts";
import {
  isLoopback,
  type ListenAddress,
  readSettings,
  type SettingSources,
  type Settings,
  type SettingValues,
  settings,
} from "@holdfast/shared/settings.ts";

export const HUB_ENV_PREFIX = "HOLDFAST_HUB_";

/** Variables with the prefix that are no settings: the path of the file itself. */
export const HUB_ENV_CONFIG = "HOLDFAST_HUB_CONFIG";

const LOOPBACK = "127.0.0.1";
const DAY_MS = 86_400_000;
const KIB = 1024;
const MIB = 1024 * KIB;
const listenAt = (port: number) => settings.listen({ fallback: { host: LOOPBACK, port } });
const postgres = () =>
  settings.url({
    protocols: ["postgres:", "postgresql:"],
    mayHaveCredentials: true,
    mayHavePath: true,
  });

const SPECS = {
  data_dir: settings.required(settings.path()),
  api_listen: listenAt(7400),
  link_listen: listenAt(7401),
  identity_listen: listenAt(7402),
  public_host: settings.text({
    fallback: "localhost",
    charsMax: 253,
    pattern:
      /^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/,
    rule: "a host name or an IPv4 address",
  }),
  database_url: postgres(),
  owner_database_url: postgres(),
  key_database_url: postgres(),
  listen_database_url: postgres(),
  database_prepares: settings.boolean({ fallback: false }),
  vendor: settings.text({
    fallback: "vendor",
    pattern: /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/,
    rule: "1 to 63 lower-case letters, digits, dots and dashes",
  }),
  log_level: settings.choice(["debug", "info", "warn", "error"], { fallback: "info" }),
  key_file: settings.path(),
  owner_token_file: settings.path(),
  shutdown_ms_max: settings.integer({ min: 100, max: 600_000, fallback: 10_000 }),
  handshakes_per_second: settings.integer({ min: 1, max: 100_000 }),
  address_handshakes_per_second: settings.integer({ min: 1, max: 100_000 }),
  metrics_listen: settings.listen({ isLoopbackOnly: true }),
  undelete_days: settings.integer({ min: 1, max: 3_650, fallback: 30 }),
  telemetry_days_max: settings.integer({ min: 1, max: 366, fallback: 7 }),
  telemetry_log_mib_max: settings.integer({ min: 16, max: 1_048_576, fallback: 2_048 }),
  telemetry_sample_mib_max: settings.integer({ min: 16, max: 1_048_576, fallback: 512 }),
  otlp_endpoint: settings.url({ protocols: ["https:", "http:"], mayHavePath: true }),
  otlp_headers_file: settings.path(),
  otlp_ca_file: settings.path(),
  otlp_timeout_ms_max: settings.integer({ min: 100, max: 60_000, fallback: 10_000 }),
  otlp_batch_kib_max: settings.integer({ min: 64, max: 16_384, fallback: 1_024 }),
  otlp_queue_mib_max: settings.integer({ min: 1, max: 4_096, fallback: 64 }),
  otlp_metrics_ms: settings.integer({ min: 1_000, max: 3_600_000, fallback: 60_000 }),
} as const;

export type HubSettings = SettingValues<typeof SPECS>;

export type HubConfig = Readonly<{
  dataDir: string;
  apiListen: ListenAddress;
  linkListen: ListenAddress;
  identityListen: ListenAddress;
  publicHost: string;
  databaseUrl: string | undefined;
  ownerDatabaseUrl: string | undefined;
  keyDatabaseUrl: string | undefined;
  /** Instead of database_url where a pooler stands before that one: it hands no notices on. */
  listenDatabaseUrl: string | undefined;
  /** Of database_url: no pooler stands before it, or one that knows named statements. */
  databasePrepares: boolean;
  vendor: string;
  logLevel: HubSettings["log_level"];
  keyFile: string;
  ownerTokenFile: string | undefined;
  shutdownMsMax: number;
  /** TLS handshakes that an agent listener lets in; undefined: what a hub of two cores can bear. */
  handshakesPerSecond: number | undefined;
  /** The same from one address, which may be a gateway that all agents come by. */
  addressHandshakesPerSecond: number | undefined;
  metricsListen: ListenAddress | undefined;
  /** For how long an instance that is gone can be undeleted where its plan does not say. */
  undeleteDays: number;
  /** How much of what agents tell is kept, for each vendor. */
  telemetry: Readonly<{ ageMsMax: number; logBytesMax: number; sampleBytesMax: number }>;
  /** Where telemetry goes beside the hub's own store; undefined: nowhere. */
  otlp: OtlpConfig | undefined;
}>;

export type OtlpConfig = Readonly<{
  /** `/v1/logs` and `/v1/metrics` are put behind it. */
  endpoint: string;
  /** Lines of `name: value`, looked at for each request. */
  headersFile: string | undefined;
  /** PEM; else the authorities that Node.js trusts. */
  caFile: string | undefined;
  requestMsMax: number;
  /** Of one request, before compression. */
  batchBytesMax: number;
  /** Of what waits, for each signal. */
  queueBytesMax: number;
  /** Between two looks at the hub's own metrics. */
  metricsMs: number;
}>;

/** Throws INVALID_ARGUMENT `CONFIG_INVALID` that names every problem. */
export function readConfig(
  sources: Omit<SettingSources, "envPrefix" | "envIgnored">,
): Settings<HubConfig> {
  const { values, warnings } = readSettings(SPECS, {
    ...sources,
    env: withPlainNames(sources.env),
    envPrefix: HUB_ENV_PREFIX,
    envIgnored: [HUB_ENV_CONFIG],
  });
  return { values: hubConfig(values), warnings };
}

/** Platforms that run programs hand the database's address over as DATABASE_URL, without anybody's prefix. */
const PLAIN_NAMES = [
  "DATABASE_URL",
  "OWNER_DATABASE_URL",
  "KEY_DATABASE_URL",
  "LISTEN_DATABASE_URL",
] as const;

function withPlainNames(env: SettingSources["env"]): SettingSources["env"] {
  const plain = PLAIN_NAMES.filter((name) => env[name] !== undefined);
  const named = plain.map((name) => [`${HUB_ENV_PREFIX}${name}`, env[name]]);
  return { ...Object.fromEntries(named), ...env };
}

function hubConfig(values: HubSettings): HubConfig {
  return {
    dataDir: values.data_dir,
    apiListen: values.api_listen,
    linkListen: values.link_listen,
    identityListen: values.identity_listen,
    publicHost: values.public_host,
    databaseUrl: values.database_url?.href,
    ownerDatabaseUrl: values.owner_database_url?.href,
    keyDatabaseUrl: values.key_database_url?.href,
    listenDatabaseUrl: values.listen_database_url?.href,
    databasePrepares: values.database_prepares,
    vendor: values.vendor,
    logLevel: values.log_level,
    keyFile: values.key_file ?? `${values.data_dir}/hub.key`,
    ownerTokenFile: values.owner_token_file,
    shutdownMsMax: values.shutdown_ms_max,
    handshakesPerSecond: values.handshakes_per_second,
    addressHandshakesPerSecond: values.address_handshakes_per_second,
    metricsListen: values.metrics_listen,
    undeleteDays: values.undelete_days,
    telemetry: {
      ageMsMax: values.telemetry_days_max * DAY_MS,
      logBytesMax: values.telemetry_log_mib_max * MIB,
      sampleBytesMax: values.telemetry_sample_mib_max * MIB,
    },
    otlp: otlpConfig(values),
  };
}

/** What goes there is the vendor's and its tenants': in clear only to this machine, and no key in the address. */
function otlpConfig(values: HubSettings): OtlpConfig | undefined {
  const { otlp_endpoint: endpoint } = values;
  if (endpoint === undefined) {
    const without = OTLP_FILES.find((name) => values[name] !== undefined);
    if (without === undefined) return undefined;
    throw badOtlp(without, "there is no otlp_endpoint that it could be for");
  }
  if (endpoint.protocol === "http:" && !isLoopback(endpoint.hostname)) {
    throw badOtlp("otlp_endpoint", "https only, but for http on loopback");
  }
  if (endpoint.search !== "" || endpoint.hash !== "") {
    throw badOtlp("otlp_endpoint", "nothing may follow the path; keys go into otlp_headers_file");
  }
  return {
    endpoint: endpoint.href,
    headersFile: values.otlp_headers_file,
    caFile: values.otlp_ca_file,
    requestMsMax: values.otlp_timeout_ms_max,
    batchBytesMax: values.otlp_batch_kib_max * KIB,
    queueBytesMax: values.otlp_queue_mib_max * MIB,
    metricsMs: values.otlp_metrics_ms,
  };
}

const OTLP_FILES = ["otlp_headers_file", "otlp_ca_file"] as const;

function badOtlp(path: string, message: string) {
  return invalid("CONFIG_INVALID", [{ path, message }]);
}
