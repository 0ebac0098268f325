/** Values as Compose writes them: durations, amounts of memory, references to images. Pure. */

const DURATION = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/;
const MEMORY = /^(\d+(?:\.\d+)?)([bkmg]?)b?$/i;
const MIB = { "": 1 / 1_048_576, b: 1 / 1_048_576, k: 1 / 1_024, m: 1, g: 1_024 } as const;
const IMAGE =
  /^(?:(?<host>[a-z0-9.-]+(?:\.[a-z0-9-]+|:\d+)(?::\d+)?|localhost(?::\d+)?)\/)?(?<path>[a-z0-9._/-]+)(?::[A-Za-z0-9._-]+)?@(?<digest>sha256:[0-9a-f]{64})$/;

/** `1m30s` in ms; undefined: not of this form. */
export function durationMs(value: unknown): number | undefined {
  const [all, h, m, s, ms] = typeof value === "string" ? (DURATION.exec(value) ?? []) : [];
  if (all === undefined || all === "") return undefined;
  const seconds = Number(h ?? 0) * 3_600 + Number(m ?? 0) * 60 + Number(s ?? 0);
  return Math.round(seconds * 1_000 + Number(ms ?? 0));
}

/** `512M` or a number of bytes in MiB; undefined: not of this form, or no whole number. */
export function memoryMib(value: unknown): number | undefined {
  const [, amount, unit = ""] = MEMORY.exec(String(value)) ?? [];
  const mib = Number(amount) * MIB[unit.toLowerCase() as keyof typeof MIB];
  return Number.isInteger(mib) ? mib : undefined;
}

/** `0.5` of a core in thousandths; undefined: not of this form. */
export function cpuMillis(value: unknown): number | undefined {
  const millis = Number(value) * 1_000;
  return Number.isInteger(millis) && millis > 0 ? millis : undefined;
}

/** With the registry that Docker would take; the tag beside a digest says nothing. undefined: no digest. */
export function imageReference(image: string): string | undefined {
  const { host, path = "", digest } = IMAGE.exec(image)?.groups ?? {};
  if (digest === undefined) return undefined;
  if (host !== undefined) return `${host}/${path}@${digest}`;
  return `docker.io/${path.includes("/") ? path : `library/${path}`}@${digest}`;
}
