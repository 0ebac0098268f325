/** What each RPC of the API asks of its caller, read from the contracts. A method without it keeps the hub from starting. */
import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import {
  PermissionScope,
  permission,
  scope,
} from "@holdfast/proto/holdfast/api/v1/permission_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Scope } from "../app/caller.ts";

export type MethodRule = Readonly<{ permission: string; scope: Scope }>;

const SCOPES: Readonly<Record<PermissionScope, Scope | undefined>> = {
  [PermissionScope.UNSPECIFIED]: undefined,
  [PermissionScope.TENANT]: "tenant",
  [PermissionScope.VENDOR]: "vendor",
  [PermissionScope.SELF]: "self",
};
const PERMISSION_FORM = /^[a-z]+\.[a-z]+$/;

/** Throws INTERNAL `PERMISSION_UNDECLARED`. */
export function methodRule(method: DescMethod): MethodRule {
  const declared = hasOption(method, permission) ? getOption(method, permission) : "";
  const range = hasOption(method, scope) ? SCOPES[getOption(method, scope)] : undefined;
  if (!PERMISSION_FORM.test(declared) || range === undefined) {
    const where = `${method.parent.typeName}/${method.name}`;
    throw new Fault(
      "INTERNAL",
      "PERMISSION_UNDECLARED",
      `${where}: every RPC must declare a permission (noun.verb) and a scope`,
    );
  }
  return { permission: declared, scope: range };
}

/** All permissions that the services declare, sorted, each once. */
export function permissionsOf(services: readonly DescService[]): readonly MethodRule[] {
  const rules = new Map<string, MethodRule>();
  for (const service of services) {
    for (const method of service.methods) {
      const rule = methodRule(method);
      rules.set(rule.permission, rule);
    }
  }
  return [...rules.values()].sort((a, b) => (a.permission < b.permission ? -1 : 1));
}
