/** The health check of a service, as the readiness and liveness probe of its container. */
import { isPlainObject } from "@holdfast/shared/blueprint/shape.ts";
import { type Part, textOf } from "./part.ts";
import { durationMs } from "./values.ts";

const CARRIED = ["test", "interval", "timeout", "retries", "disable", "start_period"];

export function readHealthCheck({ service, notes, at }: Part) {
  const check = service["healthcheck"];
  if (!isPlainObject(check) || check["disable"] === true) return {};
  const here = [...at, "healthcheck"];
  for (const key of Object.keys(check)) {
    if (!CARRIED.includes(key)) notes.refuse([...here, key], "not carried over");
  }
  const time = (key: string): number | undefined => {
    if (check[key] === undefined) return undefined;
    const ms = durationMs(check[key]);
    return ms ?? notes.refuse([...here, key], "not a duration such as 1m30s");
  };
  const test = check["test"];
  const words = Array.isArray(test)
    ? test.map((each, i) => textOf({ notes }, [...here, "test", i], each))
    : [];
  const [form, ...argv] = words;
  if (form === "NONE") return {};
  if (form !== "CMD") {
    notes.refuse([...here, "test"], "a command for a shell; write [CMD, /path/of/program, …]");
    return {};
  }
  const [interval, timeout, start] = [time("interval"), time("timeout"), time("start_period")];
  const retries = check["retries"];
  const times = {
    ...(interval !== undefined && { intervalMs: interval }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
  };
  const deadlineMs =
    start === undefined ? undefined : start + (interval ?? 0) * Number(retries ?? 3);
  return {
    readiness: { exec: { argv }, ...times, ...(deadlineMs !== undefined && { deadlineMs }) },
    liveness: { exec: { argv }, ...times, ...(retries !== undefined && { failures: retries }) },
  };
}
