/** Certificates of the hub's own listeners (link, identity, API), from the hub's server authority. */
import "reflect-metadata";
import { isIP } from "node:net";
import { pemOf } from "@holdfast/shared/pem.ts";
import * as x509 from "@peculiar/x509";
import {
  type Authority,
  BACKDATE_MS,
  exportKey,
  P256,
  serialNumber,
  signLeaf,
} from "./authority.ts";

const SERVER_LIFE_MS = 90 * 86_400_000;

/** What a TLS listener needs. `certificate` holds leaf and root: an enrolling agent pins the root by its fingerprint. */
export type ServerCertificate = Readonly<{
  /** PEM, leaf then root. */
  certificate: string;
  /** PEM, PKCS #8. */
  privateKey: string;
  /** DER of the root. */
  root: Uint8Array;
  /** Wall-clock milliseconds; make and load a new one by then. */
  renewAt: number;
  /** Wall-clock milliseconds. */
  notAfter: number;
}>;

/** Names that every hub answers to, beside its public host. */
const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "::1"];

/** A new key and leaf for these hosts (names or addresses); loopback is always included. */
export async function issueServerCertificate(
  authority: Authority,
  hosts: readonly string[],
  now: number,
): Promise<ServerCertificate> {
  const keys = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const names = [...new Set([...hosts, ...LOOPBACK_NAMES])];
  const leaf = await signLeaf(authority, {
    subject: "holdfast hub",
    publicKey: keys.publicKey,
    notBefore: now - BACKDATE_MS,
    notAfter: now + SERVER_LIFE_MS,
    serial: serialNumber(),
    extensions: [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
      ),
    ],
  });
  return {
    certificate: pemOf("CERTIFICATE", leaf) + pemOf("CERTIFICATE", authority.certificate),
    privateKey: pemOf("PRIVATE KEY", await exportKey(keys.privateKey)),
    root: authority.certificate,
    renewAt: now + SERVER_LIFE_MS / 2,
    notAfter: now + SERVER_LIFE_MS,
  };
}
