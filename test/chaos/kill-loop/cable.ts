/**
 * A network namespace with one cable to this machine, for an agent whose network can be unplugged. Needs root and
 * iproute2; where they are missing that is said, and the loop does without.
 */
import { execFileSync } from "node:child_process";

export type Cable = Readonly<{
  /** Of this machine's end: where the agent finds its hub. */
  host: string;
  /** Put before a command that is to run at the other end. */
  prefix: readonly string[];
  plug(isIn: boolean): void;
  remove(): void;
}>;

/** `number` (0 to 16383) keeps the cables of one machine apart. The reason in place of a cable. */
export function layCable(number: number): Cable | string {
  const name = `hfchaos${number}`;
  const [near, far] = [`hfca${number}`, `hfcb${number}`];
  const subnet = `10.${213 + (number >> 12)}.${(number >> 4) & 255}`;
  const first = (number & 15) * 16;
  const [host, other] = [`${subnet}.${first + 1}`, `${subnet}.${first + 2}`];
  const remove = () => {
    tried(["link", "del", near]);
    tried(["netns", "del", name]);
  };
  try {
    ip(["netns", "add", name]);
    ip(["link", "add", near, "type", "veth", "peer", "name", far]);
    ip(["link", "set", far, "netns", name]);
    ip(["addr", "add", `${host}/28`, "dev", near]);
    ip(["link", "set", near, "up"]);
    for (const words of [
      ["addr", "add", `${other}/28`, "dev", far],
      ["link", "set", far, "up"],
      ["link", "set", "lo", "up"],
    ]) {
      ip(["-n", name, ...words]);
    }
  } catch (error) {
    remove();
    const said = error as { stderr?: Buffer; message?: string };
    return (said.stderr?.toString("utf8") || said.message || String(error)).trim();
  }
  const plug = (isIn: boolean) => ip(["-n", name, "link", "set", far, isIn ? "up" : "down"]);
  return { host, prefix: ["ip", "netns", "exec", name], plug, remove };
}

function ip(words: readonly string[]): void {
  execFileSync("ip", words, { stdio: ["ignore", "ignore", "pipe"] });
}

function tried(words: readonly string[]): void {
  try {
    ip(words);
  } catch {
    // It was not there.
  }
}
