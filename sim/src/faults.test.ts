/** Which faults of simulated agents there are, and how a wrong one is refused. */
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { NO_FAULTS, parseFaults } from "./faults.ts";

describe("faults of simulated agents", () => {
  it("are none by default", () => {
    expect(parseFaults([])).toEqual(NO_FAULTS);
  });

  it("are read with their units", () => {
    expect(parseFaults(["flap=10s", "forget=2m", "slow=200ms", "fail=12.5%"])).toEqual({
      flapMs: 10_000,
      forgetMs: 120_000,
      slowMs: 200,
      failShare: 0.125,
    });
  });

  it.each([
    ["flip=1s", "FAULT_UNKNOWN", "allowed: flap, forget, slow, fail"],
    ["flap", "FAULT_VALUE", "flap"],
    ["flap=0s", "FAULT_VALUE", "above 0"],
    ["fail=101%", "FAULT_VALUE", "0% to 100%"],
    ["fail=0.5", "FAULT_VALUE", "got 0.5"],
  ])("refuse %s", (text, reason, part) => {
    const refused = () => parseFaults([text]);
    expect(refused).toThrow(Fault);
    expect(refused).toThrow(expect.objectContaining({ reason }));
    expect(refused).toThrow(part);
  });
});
