/**
 * Reads one counter out of Prometheus text (exposition format 0.0.4 and OpenMetrics 1.0). Only whole numbers
 * count: usage is billed in integers, so a fraction is refused rather than rounded.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

export type Sample = Readonly<{ labels: Readonly<Record<string, string>>; value: bigint }>;

export const SAMPLES_MAX = 10_000;
/** Largest value that fits the 63 bits of the ledger. */
const VALUE_MAX = 2n ** 63n - 1n;

const LABEL = /^\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"\s*(?:,|$)/;

/** All samples of `metric`, in the text's order. Throws INVALID_ARGUMENT `METRICS_MALFORMED` with the line. */
export function samplesOf(text: string, metric: string): readonly Sample[] {
  const samples: Sample[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (!isSampleOf(line, metric)) continue;
    const sample = parseSample(line, metric.length);
    if (sample === undefined) throw malformed(`line ${index + 1}`, line);
    samples.push(sample);
    if (samples.length > SAMPLES_MAX) throw malformed(metric, `more than ${SAMPLES_MAX} samples`);
  }
  return samples;
}

function isSampleOf(line: string, metric: string): boolean {
  return line.startsWith(metric) && /^(?:[{\s]|$)/.test(line.slice(metric.length));
}

function parseSample(line: string, nameLength: number): Sample | undefined {
  const rest = line.slice(nameLength).trim();
  const end = rest.startsWith("{") ? closingBrace(rest) : -1;
  if (rest.startsWith("{") && end < 0) return undefined;
  const labels = end < 0 ? {} : parseLabels(rest.slice(1, end));
  const value = wholeNumber(
    rest
      .slice(end + 1)
      .trim()
      .split(/\s+/)[0] ?? "",
  );
  return labels === undefined || value === undefined ? undefined : { labels, value };
}

/** Where the label set ends: the first brace outside of quotes. */
function closingBrace(text: string): number {
  let quoted = false;
  for (let at = 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') quoted = !quoted;
    else if (text[at] === "}" && !quoted) return at;
  }
  return -1;
}

function parseLabels(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = Object.create(null);
  for (let rest = text.trimEnd(); rest !== ""; ) {
    const match = LABEL.exec(rest);
    if (match === null) return undefined;
    labels[match[1] ?? ""] = (match[2] ?? "").replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    rest = rest.slice(match[0].length);
  }
  return labels;
}

/** Exact: `12`, `12.0` and `1.2e1` are 12; fractions, NaN and what does not fit are undefined. */
function wholeNumber(text: string): bigint | undefined {
  const match = /^\+?(\d{1,40})(?:\.(\d{0,40}))?(?:[eE]\+?(\d{1,2}))?$/.exec(text);
  if (match === null) return undefined;
  const fraction = (match[2] ?? "").replace(/0+$/, "");
  const exponent = Number(match[3] ?? 0);
  if (fraction.length > exponent) return undefined;
  const digits = (match[1] ?? "") + fraction + "0".repeat(exponent - fraction.length);
  const value = BigInt(digits);
  return value > VALUE_MAX ? undefined : value;
}

function malformed(where: string, what: string): Fault {
  return new Fault(
    "INVALID_ARGUMENT",
    "METRICS_MALFORMED",
    `${where}: got ${shown(what)}; want a counter sample with a whole number below 2^63`,
  );
}
