/** Ports of a service: published on 127.0.0.1 of the host, or known to the instance's other containers alone. */
import { isPlainObject } from "@holdfast/shared/blueprint/shape.ts";
import type { Part } from "./part.ts";

const SHORT =
  /^(?:(?<host>[0-9.]+|\[[0-9a-f:]+\]):)?(?:(?<fixed>\d*):)?(?<container>\d+)(?:\/(?<protocol>tcp|udp))?$/;

type Port = { container: number; fixed?: number; protocol?: string; publish?: false };

export function readPorts(part: Part) {
  const { service, notes, at } = part;
  const ports: Record<string, Port> = {};
  const add = (port: Port) => {
    const suffix = port.protocol === "udp" ? "-udp" : "";
    ports[`port-${port.container}${suffix}`] = port;
  };
  for (const [i, each] of listOf(service["ports"]).entries()) {
    const port = readPort(part, [...at, "ports", i], each);
    if (port !== undefined) add(port);
  }
  for (const [i, each] of listOf(service["expose"]).entries()) {
    const { container, protocol } = SHORT.exec(String(each))?.groups ?? {};
    if (container === undefined) notes.refuse([...at, "expose", i], "not one port");
    else
      add({
        container: Number(container),
        publish: false,
        ...(protocol === "udp" && { protocol }),
      });
  }
  return Object.keys(ports).length === 0 ? {} : { ports };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function readPort(
  { notes }: Part,
  at: readonly (string | number)[],
  value: unknown,
): Port | undefined {
  const read = isPlainObject(value)
    ? {
        host: value["host_ip"],
        fixed: value["published"],
        container: value["target"],
        protocol: value["protocol"],
      }
    : (SHORT.exec(String(value))?.groups ?? {});
  const more = isPlainObject(value)
    ? Object.keys(value).filter(
        (key) => !["host_ip", "published", "target", "protocol", "mode", "name"].includes(key),
      )
    : [];
  for (const key of more) notes.refuse([...at, key], "not carried over");
  const { host, container } = read;
  if (!/^\d+$/.test(String(container)))
    return notes.refuse(at, "not one port; ranges and variables are not carried over");
  if (host !== undefined && host !== "127.0.0.1") {
    return notes.refuse(at, "a host publishes on 127.0.0.1 alone");
  }
  if (host === undefined)
    notes.differs(at, "published on 127.0.0.1, not on all addresses of the host");
  const fixed = String(read.fixed ?? "");
  return {
    container: Number(container),
    ...(fixed !== "" && { fixed: Number(fixed) }),
    ...(read.protocol === "udp" && { protocol: "udp" }),
  };
}
