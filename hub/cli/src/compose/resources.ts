/** How much a service may use and is kept, and which GPUs it asks for. */
import { isPlainObject } from "@holdfast/shared/blueprint/shape.ts";
import type { Part } from "./part.ts";
import { cpuMillis, memoryMib } from "./values.ts";

type Fields = Readonly<Record<string, unknown>>;

const DEVICE_FIELDS = ["driver", "count", "device_ids", "capabilities"];

export function readResources(part: Part) {
  const { service, notes, at } = part;
  const deploy = objectIn(service, "deploy");
  for (const key of Object.keys(deploy)) {
    if (key === "resources" || (key === "replicas" && deploy[key] === 1)) continue;
    notes.refuse(
      [...at, "deploy", key],
      key === "replicas" ? "a resource is one container" : "not carried over",
    );
  }
  const resources = objectIn(deploy, "resources");
  const most = objectIn(resources, "limits");
  const least = objectIn(resources, "reservations");
  const here = [...at, "deploy", "resources"];
  const limits = {
    ...amount(part, "cpuMillis", cpuMillis, [
      [here, most, "cpus", "limits"],
      [at, service, "cpus", ""],
    ]),
    ...amount(part, "memoryMib", memoryMib, [
      [here, most, "memory", "limits"],
      [at, service, "mem_limit", ""],
    ]),
    ...amount(part, "pids", Number, [
      [here, most, "pids", "limits"],
      [at, service, "pids_limit", ""],
    ]),
  };
  const requests = {
    ...amount(part, "cpuMillis", cpuMillis, [[here, least, "cpus", "reservations"]]),
    ...amount(part, "memoryMib", memoryMib, [
      [here, least, "memory", "reservations"],
      [at, service, "mem_reservation", ""],
    ]),
  };
  return {
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(Object.keys(requests).length > 0 && { requests }),
    ...readDevices(part, least["devices"]),
  };
}

type Place = readonly [at: readonly string[], fields: Fields, name: string, below: string];

function amount(
  { notes }: Part,
  name: string,
  read: (value: unknown) => number | undefined,
  places: readonly Place[],
) {
  const place = places.find(([, fields, field]) => fields[field] !== undefined);
  if (place === undefined) return {};
  const [at, fields, field, below] = place;
  const value = read(fields[field]);
  const path = [...at, ...(below === "" ? [] : [below]), field];
  if (value === undefined || !Number.isInteger(value)) {
    notes.refuse(path, "no whole number of thousandths of a core, or of MiB");
    return {};
  }
  return { [name]: value };
}

function readDevices({ notes, at }: Part, devices: unknown) {
  if (devices === undefined) return {};
  const here = [...at, "deploy", "resources", "reservations", "devices"];
  const [device, ...more] = Array.isArray(devices) ? devices : [];
  if (!isPlainObject(device) || more.length > 0) {
    notes.refuse(here, "one request for devices is carried over, of GPUs");
    return {};
  }
  for (const key of Object.keys(device)) {
    if (!DEVICE_FIELDS.includes(key)) notes.refuse([...here, 0, key], "not carried over");
  }
  const { driver, count, device_ids: deviceIds, capabilities } = device;
  return {
    gpus: {
      ...(driver !== undefined && { driver }),
      ...(deviceIds === undefined ? { count: count ?? "all" } : { deviceIds }),
      ...(capabilities !== undefined && { capabilities }),
    },
  };
}

function objectIn(fields: Fields, name: string): Fields {
  const value = fields[name];
  return isPlainObject(value) ? value : {};
}
