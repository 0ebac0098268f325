/** What hostile clients get from the hub, and what an agent says of servers that are not its hub. */
import { connect as connectHttp2, constants } from "node:http2";
import { createServer, type TlsOptions, connect as tlsConnect } from "node:tls";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  ControlRequestSchema,
  ReportRequestSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { BatchSchema } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { pemOf } from "@holdfast/shared/pem.ts";
import { describe, expect, it } from "vitest";
import { clientIdentityOf } from "../../agent/src/link/hub-client.ts";
import type { Identity } from "../../agent/src/link/port.ts";
import { ADMISSION } from "../../hub/src/link/link-server.ts";
import type { AgentAuthority } from "../../hub/src/pki/agent-certificate.ts";
import { createAuthority } from "../../hub/src/pki/authority.ts";
import { issueServerCertificate } from "../../hub/src/pki/server-certificate.ts";
import { cleanups, connect, fleet } from "./fleet.ts";
import { enrolled } from "./memory-agent.ts";
import { clientTo, listening, rawControl, rawReport, uncheckedClientTo } from "./raw.ts";
import { createWorld, eventually, MemoryHub, startHub, uuid } from "./world.ts";

const hello = (change = {}) =>
  create(ControlRequestSchema, {
    message: {
      case: "hello",
      value: { minProtocol: 1, maxProtocol: 1, fencing: 1n, ...change },
    },
  });

async function controlAs(identity: Identity, port: number, first = hello()) {
  const control = rawControl(clientTo(port, clientIdentityOf(identity)));
  control.call.write(first);
  return control;
}

describe("the hub's link listener", () => {
  it("gives no connection to a client without a certificate, or with one of its own making", async () => {
    const { world, hub } = await fleet();
    const roots = [world.serverAuthority.certificate];
    const own = await createAuthority("agents", Date.now());
    const forged = await issueServerCertificate(own, [], Date.now());
    const none = rawControl(clientTo(world.ports.link, { roots }));
    expect(await none.ended).toMatch(/^UNAVAILABLE/);
    const key = Buffer.from(forged.privateKey.replaceAll(/-----.*-----|\s/g, ""), "base64");
    const selfSigned = rawControl(
      clientTo(world.ports.link, {
        roots,
        certificate: { chain: [own.certificate], key: own.privateKey },
      }),
    );
    expect(await selfSigned.ended).toMatch(/^UNAVAILABLE/);
    const leaf = Buffer.from(
      forged.certificate.split("-----END")[0]?.replaceAll(/-----.*-----|\s/g, "") ?? "",
      "base64",
    );
    const foreign = rawControl(
      clientTo(world.ports.link, { roots, certificate: { chain: [leaf], key } }),
    );
    expect(await foreign.ended).toMatch(/^UNAVAILABLE/);
    expect(hub.hellos).toEqual([]);
  });

  it("refuses a message that names another agent or another fencing number", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    const fencing = await controlAs(agent.identity(), world.ports.link, hello({ fencing: 2n }));
    expect(await fencing.ended).toBe("PERMISSION_DENIED IDENTITY_MISMATCH");
    const report = rawReport(clientTo(world.ports.link, clientIdentityOf(agent.identity())));
    report.call.write(create(ReportRequestSchema, { message: { case: "open", value: {} } }));
    const agentId = `agt_${uuid().replaceAll("-", "")}`;
    const batch = toBinary(BatchSchema, create(BatchSchema, { agentId }));
    report.call.write(
      create(ReportRequestSchema, { message: { case: "batch", value: { batch } } }),
    );
    expect(await report.ended).toBe("PERMISSION_DENIED IDENTITY_MISMATCH");
    expect(hub.hellos).toEqual([]);
    expect(hub.batches).toEqual([]);
    expect(hub.mismatches).toEqual(["fencing 2", agentId]);
  });

  it("refuses protocols that it does not speak, with the range, and a first message that is no hello", async () => {
    const { world } = await fleet();
    const agent = await enrolled(world);
    const range = { minProtocol: 7, maxProtocol: 9 };
    const next = await controlAs(agent.identity(), world.ports.link, hello(range));
    next.call.once("error", (error) => {
      expect(error.message).toContain("protocol 7 to 9; this hub speaks 1 to 1");
    });
    expect(await next.ended).toBe("FAILED_PRECONDITION PROTOCOL_UNSUPPORTED");
    const status = { case: "status", value: {} } as const;
    const first = create(ControlRequestSchema, { message: status });
    const early = await controlAs(agent.identity(), world.ports.link, first);
    expect(await early.ended).toBe("INVALID_ARGUMENT HELLO_MISSING");
    const silent = rawControl(clientTo(world.ports.link, clientIdentityOf(agent.identity())));
    expect(await silent.ended).toBe("DEADLINE_EXCEEDED FIRST_MESSAGE_LATE");
  });

  it("refuses an oversized message and too many statuses in one", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    const control = rawControl(uncheckedClientTo(world.ports.link, agent.identity()));
    const failure = new Promise<string>((resolve) => {
      control.call.once("error", (error) => resolve(error.message));
    });
    control.call.write(hello());
    const instances = [{ instanceId: "x".repeat(4 * 1024 * 1024) }];
    control.call.write(
      create(ControlRequestSchema, { message: { case: "status", value: { instances } } }),
    );
    expect(await failure).toMatch(/^8 RESOURCE_EXHAUSTED: Received message larger than max/i);
    const many = Array.from({ length: 65 }, () => ({ instanceId: "i" }));
    const next = await controlAs(agent.identity(), world.ports.link);
    next.call.write(
      create(ControlRequestSchema, { message: { case: "status", value: { instances: many } } }),
    );
    expect(await next.ended).toBe("RESOURCE_EXHAUSTED STATUSES_TOO_MANY");
    expect(hub.statuses).toEqual([]);
  });

  it("replaces the first of two streams of one agent by the second", async () => {
    const { world, hub, running } = await fleet();
    const agent = await enrolled(world);
    const first = await controlAs(agent.identity(), world.ports.link);
    await eventually("the first welcome", () => first.responses.length > 0);
    const second = await controlAs(agent.identity(), world.ports.link);
    expect(await first.ended).toBe("ABORTED SESSION_REPLACED");
    await eventually("the second welcome", () => second.responses.length > 0);
    await eventually("the first left", () => hub.leftSessions.includes(1n));
    expect(running.link.connected).toBe(1);
  });

  it("shows peers its limits, and ends a connection that pings without end", async () => {
    const { world } = await fleet();
    const { certificate, tlsKey } = (await enrolled(world)).identity();
    const session = connectHttp2(`https://localhost:${world.ports.link}`, {
      createConnection: () =>
        tlsConnect({
          port: world.ports.link,
          host: "localhost",
          ALPNProtocols: ["h2"],
          ca: certificate.roots.map((der) => pemOf("CERTIFICATE", der)),
          cert: certificate.chain.map((der) => pemOf("CERTIFICATE", der)),
          key: pemOf("PRIVATE KEY", tlsKey),
        }),
    });
    cleanups.push(() => session.destroy());
    session.on("error", () => undefined);
    const settings = await new Promise<Record<string, unknown>>((resolve) => {
      session.on("remoteSettings", (remote) => {
        if (remote.maxHeaderListSize === 16_384) resolve({ ...remote });
      });
    });
    expect(settings).toMatchObject({ maxConcurrentStreams: 64, maxHeaderListSize: 16_384 });
    const goaway = new Promise((resolve) => session.on("goaway", resolve));
    const flood = setInterval(() => {
      if (!session.destroyed) session.ping(() => undefined);
    }, 1);
    cleanups.push(() => clearInterval(flood));
    expect(await goaway).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
});

describe("a vendor that was added", () => {
  it("has its agents let in after a reload, and nobody's before the first vendor", async () => {
    const world = await createWorld();
    const vendors: AgentAuthority[] = [];
    const running = await startHub(world, new MemoryHub(), {}, ADMISSION, vendors);
    cleanups.push(() => running.stop());
    const agent = await enrolled(world);
    const { ended } = await controlAs(agent.identity(), world.ports.link);
    expect(await ended).toMatch(/^UNAVAILABLE/);
    vendors.push(world.authority);
    running.link.reload();
    const next = await controlAs(agent.identity(), world.ports.link);
    await eventually("a welcome", () => next.responses.length > 0);
  });
});

describe("an agent", () => {
  it("says so when the hub does not take its certificate, or is not there", async () => {
    const world = await createWorld();
    cleanups.push((await startHub(world, new MemoryHub(), {}, ADMISSION, [])).stop);
    const agent = await enrolled(world);
    connect(agent);
    const { message } = await eventually("a reason", () => agent.changes[0]);
    expect(message).toContain("it does not accept this agent's certificate");
    const gone = await enrolled(world);
    gone.at({ linkEndpoints: ["127.0.0.1:1"] });
    connect(gone);
    const refused = await eventually("a reason", () => gone.changes[0]);
    expect(refused.message).toBe("127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1");
  });

  it("does not accept a hub of another authority, another name, expired, or with TLS 1.2", async () => {
    const { world } = await fleet();
    const agent = await enrolled(world);
    const certify = async (authority = world.serverAuthority, now = Date.now()) => {
      const { certificate, privateKey } = await issueServerCertificate(authority, [], now);
      return { cert: certificate, key: privateKey };
    };
    const judge = async (options: TlsOptions, host = "localhost", address = "127.0.0.1") => {
      const fake = createServer({ ALPNProtocols: ["h2"], ...options });
      fake.on("tlsClientError", () => undefined);
      cleanups.push(() => fake.close());
      agent.at({ linkEndpoints: [`${host}:${await listening(fake, address)}`] });
      agent.changes.length = 0;
      const link = connect(agent);
      const message = await eventually("a judgement", () => agent.changes[0]?.message);
      await link.stop();
      return message;
    };
    const other = await createAuthority("hub", Date.now());
    expect(await judge(await certify(other))).toMatch(/server identity not accepted: issuer/);
    const ended = Date.now() - 100 * 86_400_000;
    const expired = await certify(world.serverAuthority, ended);
    expect(await judge(expired)).toMatch(/server identity not accepted: validity/);
    expect(await judge(await certify(), "127.0.0.2", "127.0.0.2")).toMatch(/not accepted: name/);
    const old = { ...(await certify()), maxVersion: "TLSv1.2" } as const;
    expect(await judge(old)).toMatch(/server identity not accepted: TLS version/);
  });
});
