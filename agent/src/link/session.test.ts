/** The link's reducer: each transition by example, and its promises for whatever may happen. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CLOCK_CHECK_MS,
  initialSession,
  type LostKind,
  RETRY_ANSWERED_MS_CAP,
  RETRY_MS,
  type SessionEffect,
  type SessionEvent,
  type SessionState,
  SPREAD_MS_MAX,
  STEADY_FAILURES,
  step,
  type TimerName,
} from "./session.ts";

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 10, 20);
const CERTIFICATE = { notBefore: NOW, renewAt: NOW + 12 * HOUR_MS, notAfter: NOW + 24 * HOUR_MS };
const middle = () => 0.5;

/** Runs events from the beginning; `now` stands still unless given. */
function run(events: readonly SessionEvent[], { endpoints = 1, now = NOW, random = middle } = {}) {
  let state = initialSession(endpoints, CERTIFICATE);
  let effects: readonly SessionEffect[] = [];
  for (const event of events) [state, effects] = step(state, event, now, random);
  return { state, effects };
}

const START: SessionEvent = { type: "start" };
const lost = (connection: number, kind: LostKind = "unreachable") =>
  ({ type: "lost", connection, kind, message: "gone" }) as const;
const welcomed = (connection: number, spreadMs = 4_000) =>
  ({ type: "welcomed", connection, spreadMs }) as const;
const timer = (name: TimerName) => ({ type: "timer", timer: name }) as const;
const waitOf = (effects: readonly SessionEffect[], name: TimerName = "connect") =>
  effects.flatMap((each) =>
    each.type === "timer" && each.timer === name ? [each.afterMs] : [],
  )[0];
const kinds = (effects: readonly SessionEffect[]) => effects.map(({ type }) => type);

describe("the session", () => {
  it("connects at once when started", () => {
    const { effects } = run([START]);
    expect(effects).toContainEqual({ type: "connect", connection: 1, endpoint: 0 });
  });

  it("comes back over the span that the hub announced once the link was stable", () => {
    const before = [START, lost(1), timer("connect"), lost(2), timer("connect")];
    const up = run([...before, welcomed(3)]).state;
    expect(up.failures).toBe(2);
    const [state, effects] = step(up, lost(3), NOW + 60_000, middle);
    expect(state).toMatchObject({ phase: "waiting", failures: 0 });
    expect(waitOf(effects)).toBe(2_000);
  });

  it("is back within seconds of a hub that was there all along but could not serve", () => {
    let [state] = step(initialSession(1, CERTIFICATE), START, NOW, middle);
    for (let i = 1; i <= 12; i++) {
      const [waiting, effects] = step(state, lost(i, "later"), NOW, () => 0.999999);
      expect(waitOf(effects)).toBeLessThan(RETRY_ANSWERED_MS_CAP);
      [state] = step(waiting, timer("connect"), NOW, middle);
    }
    const [, effects] = step(state, lost(13), NOW, () => 0.999999);
    expect(waitOf(effects)).toBeLessThan(2 * RETRY_ANSWERED_MS_CAP);
  });

  it("waits no longer at first, then twice as long after each failure, up to five minutes", () => {
    const waits: (number | undefined)[] = [];
    let [state] = step(initialSession(1, CERTIFICATE), START, NOW, middle);
    for (let i = 1; i <= STEADY_FAILURES + 12; i++) {
      const [waiting, effects] = step(state, lost(i), NOW, () => 0.999999);
      waits.push(waitOf(effects));
      [state] = step(waiting, timer("connect"), NOW, middle);
    }
    expect(new Set(waits.slice(0, STEADY_FAILURES))).toEqual(new Set([999]));
    expect(waits.slice(STEADY_FAILURES, STEADY_FAILURES + 3)).toEqual([999, 1_999, 3_999]);
    expect(waits.at(-1)).toBe(RETRY_MS.cap - 1);
  });

  it("waits longer for a hub that fails after each welcome, from the second time on", () => {
    const short = (n: number): SessionEvent[] => [welcomed(n, 0), lost(n), timer("connect")];
    const waitAfter = (times: number) => {
      const events = Array.from({ length: times }, (_, i) => short(i + 1)).flat();
      return waitOf(run([START, ...events.slice(0, -1)]).effects);
    };
    expect([1, 2, 3, 4].map(waitAfter)).toEqual([500, 1_000, 2_000, 4_000]);
  });

  it("tries the endpoints in order, each next one soon, and begins with the first after a good link", () => {
    const two = run([START, lost(1)], { endpoints: 2 });
    expect(two.state).toMatchObject({ endpoint: 1, failures: 0 });
    expect(waitOf(two.effects)).toBeLessThanOrEqual(RETRY_MS.base);
    const around = run([START, lost(1), timer("connect"), lost(2)], { endpoints: 2 });
    expect(around.state).toMatchObject({ endpoint: 0, failures: 1 });
  });

  it("asks a hub that refuses it seldom, but goes on asking", () => {
    const { effects } = run([START, lost(1, "refused")]);
    expect(waitOf(effects)).toBe(RETRY_MS.cap / 2);
  });

  it("gives a try up that brings no welcome", () => {
    const { state, effects } = run([START, timer("welcome")]);
    expect(state.phase).toBe("waiting");
    expect(kinds(effects)).toContain("disconnect");
  });

  it("ignores what an older connection says", () => {
    const { state } = run([START, lost(1), timer("connect"), lost(1), welcomed(1)]);
    expect(state).toMatchObject({ phase: "connecting", connection: 2 });
  });

  it("renews from half-life on with jitter, and uses the new certificate at once", () => {
    const up = run([START, welcomed(1)]).state;
    expect(up.certificate.renewAt).toBe(CERTIFICATE.renewAt + 0.1 * 12 * HOUR_MS);
    const early = step(up, timer("renew"), CERTIFICATE.renewAt, middle);
    expect(waitOf(early[1], "renew")).toBe(HOUR_MS);
    const [renewing, effects] = step(up, timer("renew"), up.certificate.renewAt, middle);
    expect(effects).toContainEqual({ type: "renew", endpoint: 0 });
    const fresh = { notBefore: NOW, renewAt: NOW + 36 * HOUR_MS, notAfter: NOW + 48 * HOUR_MS };
    const renewed = step(renewing, { type: "renewed", certificate: fresh }, NOW, middle);
    expect(kinds(renewed[1]).slice(-4)).toEqual(["disconnect", "report", "connect", "timer"]);
  });

  it("renews first when the certificate has expired, through the next endpoint each time", () => {
    const late = CERTIFICATE.notAfter + 1;
    const first = run([START], { now: late });
    expect(first.state.phase).toBe("expired");
    expect(first.effects).toContainEqual({ type: "renew", endpoint: 0 });
    expect(kinds(first.effects)).not.toContain("connect");
    const failed = step(first.state, { type: "renewal-failed", message: "no" }, late, middle);
    expect(waitOf(failed[1], "renew")).toBeGreaterThanOrEqual(RETRY_MS.base);
    const again = step(failed[0], timer("renew"), late, middle);
    expect(again[1]).toContainEqual({ type: "renew", endpoint: 1 });
    const fresh = { notBefore: late, renewAt: late + HOUR_MS, notAfter: late + 2 * HOUR_MS };
    const [, effects] = step(again[0], { type: "renewed", certificate: fresh }, late, middle);
    expect(kinds(effects)).toContain("connect");
  });

  it.each([
    { it: "1970", now: 0 },
    { it: "2099", now: Date.UTC(2099, 0, 1) },
    { it: "two days before the certificate", now: NOW - 48 * HOUR_MS },
    { it: "after anybody would renew it", now: CERTIFICATE.notAfter + 35 * 24 * HOUR_MS },
  ])("asks nothing of the hub by a clock that says $it, and says both times", ({ now }) => {
    const { state, effects } = run([START], { now });
    expect(kinds(effects)).not.toContain("connect");
    expect(kinds(effects)).not.toContain("renew");
    const times = `${new Date(now).toISOString()}, last signed time ${new Date(NOW).toISOString()}`;
    expect(effects).toContainEqual({
      ...{ type: "report", up: false },
      message: `clock implausible: ${times}`,
    });
    expect(waitOf(effects)).toBe(CLOCK_CHECK_MS);
    const [still, none] = step(state, timer("renew"), now, middle);
    expect(kinds(none)).toEqual(["timer"]);
    const [, better] = step(still, timer("connect"), NOW, middle);
    expect(better).toContainEqual({ type: "connect", connection: 1, endpoint: 0 });
  });

  it("keeps a link that is up while the clock is wrong, and renews when it is right again", () => {
    const up = run([START, welcomed(1)]).state;
    const [state, effects] = step(up, timer("renew"), Date.UTC(2099, 0, 1), middle);
    expect(state.phase).toBe("up");
    expect(effects).toEqual([{ type: "timer", timer: "renew", afterMs: CLOCK_CHECK_MS }]);
    const [, renews] = step(state, timer("renew"), CERTIFICATE.notAfter - 1, middle);
    expect(renews).toContainEqual({ type: "renew", endpoint: 0 });
  });

  it("renews when the hub holds the certificate for expired, whatever its own clock says", () => {
    const { state, effects } = run([START, lost(1, "expired")]);
    expect(state.phase).toBe("expired");
    expect(kinds(effects)).toContain("renew");
  });

  it("goes on renewing while it drains, and delivers over the new certificate at once", () => {
    const late = CERTIFICATE.notAfter + 1;
    const { state, effects } = run([{ type: "fenced" }], { now: late });
    expect(effects).toContainEqual({ type: "drain", connection: 1, endpoint: 0 });
    expect(waitOf(effects, "renew")).toBe(0);
    const [renewing, asked] = step(state, timer("renew"), late, middle);
    expect(asked).toContainEqual({ type: "renew", endpoint: 0 });
    const fresh = { notBefore: late, renewAt: late + HOUR_MS, notAfter: late + 2 * HOUR_MS };
    const renewed = step(renewing, { type: "renewed", certificate: fresh }, late, middle);
    expect(kinds(renewed[1])).toEqual(["timer", "disconnect", "drain"]);
    expect(renewed[0]).toMatchObject({ phase: "draining", connection: 2 });
  });

  it("does nothing after it was stopped", () => {
    const { state } = run([START, welcomed(1), { type: "stop" }]);
    for (const event of [START, timer("connect"), timer("renew"), lost(1)]) {
      expect(step(state, event, NOW, middle)).toEqual([state, []]);
    }
  });
});

/** The world's side: which timers run, whether a connection is open and a renewal under way. */
type World = { timers: Map<TimerName, number>; open: number | undefined; renewing: boolean };

function apply(world: World, effect: SessionEffect): void {
  switch (effect.type) {
    case "connect":
    case "drain":
      expect(world.open, "never two connections").toBeUndefined();
      world.open = effect.connection;
      return;
    case "disconnect":
      if (world.open === effect.connection) world.open = undefined;
      return;
    case "timer":
      expect(effect.afterMs).toBeGreaterThanOrEqual(0);
      expect(effect.afterMs).toBeLessThanOrEqual(Math.max(SPREAD_MS_MAX, RETRY_MS.cap));
      world.timers.set(effect.timer, effect.afterMs);
      return;
    case "cancel":
      world.timers.delete(effect.timer);
      return;
    case "renew":
      expect(world.renewing, "never two renewals").toBe(false);
      world.renewing = true;
      return;
    case "report":
      return;
  }
}

/** What may happen next in this world, chosen by `pick`; late events of old connections included. */
function nextEvent(world: World, state: SessionState, pick: number, now: number): SessionEvent {
  const running = [...world.timers.keys()];
  const connection = state.connection - (pick % 5 === 0 ? 1 : 0);
  const certificate = { notBefore: now, renewAt: now + HOUR_MS, notAfter: now + 2 * HOUR_MS };
  const choices: (SessionEvent | false)[] = [
    ...running.map((name) => timer(name)),
    welcomed(connection, pick * 997),
    { type: "asked-to-leave", connection, spreadMs: pick * 131 },
    lost(connection, (["unreachable", "refused", "expired"] as const)[pick % 3]),
    // Seldom, since nothing leads back.
    pick % 7 === 0 && lost(connection, "fenced"),
    world.renewing && { type: "renewed", certificate },
    world.renewing && { type: "renewal-failed", message: "no" },
  ];
  const possible = choices.filter((each) => each !== false);
  return possible[pick % possible.length] ?? START;
}

function hasNextTry({ open, timers }: World, { phase, connection }: SessionState): boolean {
  switch (phase) {
    case "connecting":
      return open === connection && timers.has("welcome");
    case "up":
    case "draining":
      return open === connection;
    case "waiting":
      return open === undefined && timers.has("connect");
    case "expired":
      return open === undefined; // Its next try is the renewal, which is checked always.
    default:
      return false;
  }
}

describe("whatever happens", () => {
  it("there are never two connections, and always a next try", () => {
    const moves = fc.array(
      fc.record({
        pick: fc.nat(10_000),
        passMs: fc.nat(20 * HOUR_MS),
        chance: fc.double({ min: 0, max: 0.999999, noNaN: true }),
      }),
      { minLength: 1, maxLength: 60 },
    );
    fc.assert(
      fc.property(moves, fc.integer({ min: 1, max: 4 }), (steps, endpoints) => {
        const world: World = { timers: new Map(), open: undefined, renewing: false };
        let now = NOW;
        let state = initialSession(endpoints, CERTIFICATE);
        let event: SessionEvent = START;
        for (const { pick, passMs, chance } of steps) {
          if (event.type === "timer") world.timers.delete(event.timer);
          if (event.type === "renewed" || event.type === "renewal-failed") world.renewing = false;
          const [next, effects] = step(state, event, now, () => chance);
          state = next;
          for (const effect of effects) apply(world, effect);
          const isRenewing = world.renewing || world.timers.has("renew");
          expect(isRenewing, "renewal is always planned").toBe(true);
          expect(hasNextTry(world, state), `a next try when ${state.phase}`).toBe(true);
          now += passMs;
          event = nextEvent(world, state, pick, now);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("a wait lies within the span that was announced", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 10 * SPREAD_MS_MAX }),
        fc.double({ min: 0, max: 0.999999, noNaN: true }),
        (spreadMs, chance) => {
          const up = run([START, welcomed(1, spreadMs)]).state;
          const [, effects] = step(up, lost(1), NOW + HOUR_MS, () => chance);
          const ceiling = Math.min(SPREAD_MS_MAX, Math.max(RETRY_MS.base, spreadMs));
          expect(waitOf(effects)).toBe(Math.floor(chance * ceiling));
        },
      ),
    );
  });
});
