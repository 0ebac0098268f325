/** Token buckets of the listeners, under a clock that stands still. */
import type { Clock } from "@holdfast/shared/clock.ts";
import { describe, expect, it } from "vitest";
import { Admission, networkOf } from "./admission.ts";
import { ADMISSION, admissionBounds } from "./link-server.ts";

function stopped(): Clock & { ms: number } {
  return {
    ms: 0,
    now: () => 0,
    monotonic() {
      return this.ms;
    },
    sleep: async () => undefined,
  };
}

const BOUNDS = {
  hub: { perSecond: 10, burst: 20 },
  address: { perSecond: 2, burst: 4 },
  addressesMax: 3,
};
const admitted = (admission: Admission, address: string, tries: number) =>
  Array.from({ length: tries }, () => admission.admits(address)).filter(Boolean).length;

describe("admission", () => {
  it("lets an address have its burst, then its rate", () => {
    const clock = stopped();
    const admission = new Admission(BOUNDS, clock);
    expect(admitted(admission, "a", 100)).toBe(4);
    clock.ms += 1_500;
    expect(admitted(admission, "a", 100)).toBe(3);
  });

  it("is not spent for all by one noisy address", () => {
    const admission = new Admission(BOUNDS, stopped());
    admitted(admission, "noisy", 10_000);
    expect(admitted(admission, "quiet", 4)).toBe(4);
  });

  it("counts an IPv6 network as one address, and a mapped IPv4 address as itself", () => {
    const pairs = [
      ["10.0.0.1", "10.0.0.1"],
      ["::ffff:10.0.0.1", "10.0.0.1"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
      ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
      ["2001:db8::9", "2001:db8:0:0::/64"],
      ["fe80::1%eth0", "fe80:0:0:0::/64"],
      ["::1", "0:0:0:0::/64"],
    ] as const;
    for (const [address, network] of pairs) expect(networkOf(address)).toBe(network);
    const admission = new Admission(BOUNDS, stopped());
    const all = Array.from({ length: 50 }, (_, n) => admitted(admission, `2001:db8::${n + 1}`, 1));
    expect(all.reduce((sum, each) => sum + each)).toBe(4);
  });

  it("has a bound for all addresses together, and remembers only some of them", () => {
    const admission = new Admission(BOUNDS, stopped());
    const all = Array.from({ length: 50 }, (_, n) => admitted(admission, `a${n}`, 4));
    expect(all.reduce((sum, each) => sum + each)).toBe(20);
  });
});

describe("the bounds of a listener", () => {
  it("are the default ones where no setting names them", () => {
    expect(admissionBounds()).toEqual(ADMISSION);
  });

  it("grow with their settings, bursts too", () => {
    const { hub, address } = admissionBounds(5_000, 2_000);
    expect(hub).toEqual({ perSecond: 5_000, burst: 10_000 });
    expect(address).toEqual({ perSecond: 2_000, burst: 8_000 });
  });
});
