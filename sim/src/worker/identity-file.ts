/**
 * Identities of simulated agents in a state directory, one file (0600) for each: a prepared directory is used again,
 * so that a second run joins nobody.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Enrolled } from "@holdfast/agent/src/enroll.ts";
import { CertificateSchema } from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";

type Stored = Readonly<{
  vendorId: string;
  cellId: string;
  agentId: string;
  fencing: string;
  tlsKey: string;
  identitySeed: string;
  certificate: string;
  linkEndpoints: readonly string[];
  identityEndpoints: readonly string[];
  keySets: readonly string[];
  incarnation: string;
}>;

export class IdentityFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Undefined for an agent that has not joined yet. */
  find(name: string): Enrolled | undefined {
    const path = this.#pathOf(name);
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw unreadable("identity file", path, error);
    }
    try {
      return enrolledOf(JSON.parse(text) as Stored);
    } catch (error) {
      const message = `${path}: not an identity of this simulator`;
      throw new Fault("INVALID_ARGUMENT", "IDENTITY_MALFORMED", message, { cause: error });
    }
  }

  put(name: string, enrolled: Enrolled): void {
    const path = this.#pathOf(name);
    writeFileSync(`${path}.new`, `${JSON.stringify(storedOf(enrolled))}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  #pathOf(name: string): string {
    return join(this.#directory, `${name}.json`);
  }
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "base64"));

function storedOf({ identity, keySets, incarnation }: Enrolled): Stored {
  const { tlsKey, identitySeed, certificate, fencing, ...rest } = identity;
  return {
    ...rest,
    fencing: String(fencing),
    tlsKey: textOf(tlsKey),
    identitySeed: textOf(identitySeed),
    certificate: textOf(toBinary(CertificateSchema, certificate)),
    keySets: keySets.map((each) => textOf(toBinary(EnvelopeSchema, each))),
    incarnation: String(incarnation),
  };
}

function enrolledOf({ keySets, incarnation, ...stored }: Stored): Enrolled {
  return {
    identity: {
      ...stored,
      fencing: BigInt(stored.fencing),
      tlsKey: bytesOf(stored.tlsKey),
      identitySeed: bytesOf(stored.identitySeed),
      certificate: fromBinary(CertificateSchema, bytesOf(stored.certificate)),
    },
    keySets: keySets.map((each) => fromBinary(EnvelopeSchema, bytesOf(each))),
    incarnation: BigInt(incarnation),
  };
}
