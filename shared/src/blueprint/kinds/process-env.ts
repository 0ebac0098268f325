/**
 * Which environment variables a release may set for a process. Refuses those that make a loader or a runtime run
 * other code than the release holds, and those that Holdfast sets itself.
 */

export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/** Set by the driver to fixed values. */
const FIXED_NAMES = ["PATH", "LANG", "TZ"];

/** Each makes some loader, interpreter or library take code or settings from elsewhere. */
const LOADER_NAMES = [
  "NODE_OPTIONS",
  "NODE_PATH",
  "NODE_EXTRA_CA_CERTS",
  "NODE_REPL_EXTERNAL_MODULE",
  "NODE_TLS_REJECT_UNAUTHORIZED",
  "NODE_CHANNEL_FD",
  "BASH_ENV",
  "ENV",
  "IFS",
  "SHELLOPTS",
  "PYTHONPATH",
  "PYTHONSTARTUP",
  "PYTHONHOME",
  "PERL5LIB",
  "PERL5OPT",
  "RUBYLIB",
  "RUBYOPT",
  "CLASSPATH",
  "JAVA_TOOL_OPTIONS",
  "JDK_JAVA_OPTIONS",
  "_JAVA_OPTIONS",
  "GCONV_PATH",
  "GLIBC_TUNABLES",
  "LOCPATH",
  "NLSPATH",
  "OPENSSL_CONF",
  "OPENSSL_MODULES",
  "OPENSSL_ENGINES",
];
const LOADER_PREFIXES = ["LD_", "DYLD_", "BASH_FUNC_"];
const OWN_PREFIX = "HOLDFAST_";

/** Why a release may not set this variable; undefined if it may. */
export function envNameProblem(name: string): string | undefined {
  if (!ENV_NAME.test(name)) {
    return "not a variable name; allowed: letters, digits and _, at most 128, no digit first";
  }
  const upper = name.toUpperCase();
  if (LOADER_NAMES.includes(upper) || LOADER_PREFIXES.some((each) => upper.startsWith(each))) {
    return "a variable that changes which code is loaded is denied";
  }
  if (upper.startsWith(OWN_PREFIX))
    return `names that begin with ${OWN_PREFIX} are set by Holdfast`;
  if (FIXED_NAMES.includes(upper)) return "this variable has a fixed value";
  return undefined;
}
