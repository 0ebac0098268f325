/**
 * Where the values of an instance's secrets come from: sealed ones from the store, opened in memory when a step
 * needs them, or files that the customer keeps on this host. Whatever is missing is named together with the
 * command that enters it; no message holds any of a value.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { openSecret } from "@holdfast/shared/sealing.ts";
import type { Store } from "../store/database.ts";
import * as secrets from "../store/secrets.ts";
import type { LocalSecrets } from "./local.ts";

/** A sealed secret as an assignment names it. */
export type SealedUse = Readonly<{
  /** Decimal, since renderings are kept as JSON. */
  version: string;
  /** Of the sealed bytes. */
  digest: string;
  /** The agent that it is sealed to. */
  agentId: string;
}>;

/** What a resource uses under `name`: a sealed secret, else the agent-local one. */
export type SecretUse = Readonly<{ name: string; localName: string; sealed?: SealedUse }>;

export interface Secrets {
  /**
   * Changes whenever the secret does and says nothing of its value. Throws FAILED_PRECONDITION `SECRET_MISSING` or
   * `SECRET_EXPOSED`.
   */
  stamp(instanceId: string, use: SecretUse): string;
  /** The value. Throws as `stamp` does, and FAILED_PRECONDITION `SECRET_UNREADABLE`. */
  read(instanceId: string, use: SecretUse): Promise<string>;
}

export function agentSecrets(store: Store, agentId: string, local: LocalSecrets): Secrets {
  const checked = (instanceId: string, name: string, sealed: SealedUse) => {
    const which = `secret ${name} version ${sealed.version}`;
    if (sealed.agentId !== agentId) {
      throw missing(instanceId, name, `${which} is sealed to ${sealed.agentId}, not to this agent`);
    }
    if (secrets.isHeld(store, instanceId, sealed.digest)) return;
    throw missing(instanceId, name, `${which} did not come from the hub`);
  };
  return {
    stamp(instanceId, { name, localName, sealed }) {
      if (sealed === undefined) return localStamp(local, instanceId, name, localName);
      checked(instanceId, name, sealed);
      return sealed.digest;
    },
    async read(instanceId, { name, localName, sealed }) {
      if (sealed === undefined) return local.read(localName);
      checked(instanceId, name, sealed);
      const bytes = secrets.findSealed(store, instanceId, sealed.digest) ?? new Uint8Array();
      const identity = secrets.findSealingIdentity(store)?.identity ?? "";
      const place = { instanceId, name, version: BigInt(sealed.version) };
      return await openSecret(place, bytes, identity).catch((error: unknown) => {
        if (!(error instanceof Fault)) throw error;
        const message = `${error.message}; enter it again: ${setCommand(instanceId, name)}`;
        throw new Fault(error.code, error.reason, message, { cause: error });
      });
    },
  };
}

/** A secret that nobody has entered yet may come either way. */
function localStamp(local: LocalSecrets, instanceId: string, name: string, localName: string) {
  try {
    return local.stamp(localName);
  } catch (error) {
    const isUnset = error instanceof Fault && error.reason === "SECRET_MISSING";
    if (!isUnset || name !== localName) throw error;
    const message = `secret ${name} was not entered: ${error.message}`;
    throw new Fault(error.code, error.reason, message, {
      next: `${setCommand(instanceId, name)}, or ${error.next ?? "write it on this host"}`,
    });
  }
}

function missing(instanceId: string, name: string, message: string): Fault {
  return new Fault("FAILED_PRECONDITION", "SECRET_MISSING", message, {
    next: setCommand(instanceId, name),
  });
}

/** By id, which names it whoever the caller is. */
function setCommand(instanceId: string, name: string): string {
  return `holdfast secret set ${instanceId} ${name}`;
}
