/**
 * Which environment variables a release may set for a process. Refuses those that make a loader or a runtime run
 * other code than the release holds, and those that Holdfast sets itself.
 */

export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/** Set by the driver to fixed values. */
const FIXED_NAMES = ["PATH", "LANG", "TZ"];

/** Each makes some loader, interpreter or library take code, roots of trust or settings from elsewhere. */
const LOADER_NAMES: ReadonlySet<string> = new Set([
  // The C library: what it ignores itself in programs with raised rights, but TMPDIR.
  ...["GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH"],
  ...["MALLOC_TRACE", "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR"],
  // Shells, also those that a program starts by itself.
  ...["BASH_ENV", "BASHOPTS", "CDPATH", "ENV", "GLOBIGNORE", "IFS", "PROMPT_COMMAND", "PS4"],
  ...["SHELL", "SHELLOPTS", "ZDOTDIR"],
  // Node; NODE_ENV and the like choose no code.
  ...["NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "NODE_REPL_EXTERNAL_MODULE"],
  ...["NODE_TLS_REJECT_UNAUTHORIZED", "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE"],
  ...["NODE_COMPILE_CACHE", "NODE_ICU_DATA", "NODE_REDIRECT_WARNINGS", "NODE_REPL_HISTORY"],
  ...["NODE_V8_COVERAGE", "NODE_UNIQUE_ID", "ELECTRON_RUN_AS_NODE"],
  // Other languages.
  ...["CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_HOME"],
  ...["PERL5DB", "PERL5LIB", "PERL5OPT", "PERLLIB", "PERLIO_DEBUG"],
  ...["BUNDLE_GEMFILE", "GEM_HOME", "GEM_PATH", "RUBYLIB", "RUBYOPT", "RUBYSHELL"],
  ...["PHPRC", "PHP_INI_SCAN_DIR", "TCLLIBPATH", "GUILE_LOAD_PATH", "ERL_LIBS", "ERL_FLAGS"],
  ...["GTK_MODULES", "GIO_EXTRA_MODULES", "QT_PLUGIN_PATH", "GST_PLUGIN_PATH"],
  // TLS: other roots, other modules, keys written down.
  ...["SSLKEYLOGFILE", "SSL_CERT_DIR", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"],
]);
const LOADER_PREFIXES = [
  ...["LD_", "DYLD_", "BASH_FUNC_", "_RLD", "PYTHON", "LUA_", "OPENSSL_", "DOTNET_STARTUP"],
  ...["DOTNET_ADDITIONAL", "DOTNET_SHARED", "CORECLR_", "COR_", "GIT_", "NPM_CONFIG_", "MALLOC_"],
];
/** Of Python only what it prints and how. */
const HARMLESS_NAMES = ["PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONHASHSEED"];
const OWN_PREFIX = "HOLDFAST_";

/** Why a release may not set this variable; undefined if it may. */
export function envNameProblem(name: string): string | undefined {
  if (!ENV_NAME.test(name)) {
    return "not a variable name; allowed: letters, digits and _, at most 128, no digit first";
  }
  const upper = name.toUpperCase();
  if (isLoader(upper)) return "a variable that changes which code is loaded is denied";
  if (upper.startsWith(OWN_PREFIX))
    return `names that begin with ${OWN_PREFIX} are set by Holdfast`;
  if (FIXED_NAMES.includes(upper)) return "this variable has a fixed value";
  return undefined;
}

function isLoader(upper: string): boolean {
  if (HARMLESS_NAMES.includes(upper)) return false;
  return LOADER_NAMES.has(upper) || LOADER_PREFIXES.some((each) => upper.startsWith(each));
}
