/**
 * Ports of a container: where it listens, and where the host gives it out, on 127.0.0.1 alone. A port that is not
 * published is reached by the instance's other containers only.
 */
import type { Shape } from "../shape.ts";

export type ContainerPort = Readonly<{
  /** Inside of the container. */
  container: number;
  protocol: "tcp" | "udp";
  isPublished: boolean;
  /** On the host; undefined: a free one for each start. */
  fixed?: number;
}>;

const PORTS_MAX = 20;
const PORT_NAME = /^[a-z][a-z0-9-]{0,30}$/;
const PORT_NAME_RULE = "a-z, 0-9 and -, at most 31, a letter first";

export function readContainerPorts(shape: Shape): Readonly<Record<string, ContainerPort>> {
  const ports: Record<string, ContainerPort> = {};
  const map = shape.object("ports");
  for (const [name] of shape.entries("ports", PORTS_MAX)) {
    if (!PORT_NAME.test(name)) map?.add(name, "not a port name", name, PORT_NAME_RULE);
    const port = map?.object(name);
    if (port === undefined) {
      map?.add(name, "not a port", "", "{container: PORT}");
      continue;
    }
    const read = readPort(port);
    for (const [other, known] of Object.entries(ports)) {
      if (read.fixed !== undefined && known.fixed === read.fixed) {
        port.add("fixed", "used twice", read.fixed, "a port of its own");
      }
      if (known.container === read.container && known.protocol === read.protocol) {
        port.add("container", `the same as ${other}`, read.container, "a port of its own");
      }
    }
    ports[name] = read;
  }
  return ports;
}

function readPort(port: Shape): ContainerPort {
  const container = port.integer("container", { min: 1, max: 65_535 }, true) ?? 0;
  const fixed = port.integer("fixed", { min: 1024, max: 65_535 });
  const protocol = port.choice("protocol", ["tcp", "udp"]) ?? "tcp";
  const isPublished = readFlag(port, "publish", true);
  if (fixed !== undefined && !isPublished) {
    port.add("fixed", "of a port that is not published", fixed, "publish: true, or no fixed port");
  }
  port.finish();
  return { container, protocol, isPublished, ...(fixed !== undefined && { fixed }) };
}

/** True or false; never made from text. */
export function readFlag(shape: Shape, key: string, fallback: boolean): boolean {
  const given = shape.raw(key);
  if (given === undefined || typeof given === "boolean") return given ?? fallback;
  shape.add(key, "not a flag", given, "true or false");
  return fallback;
}
