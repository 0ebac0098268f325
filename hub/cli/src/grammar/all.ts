/** All commands, in the order in which the help shows them within their chapter. A new one adds its two lines here. */
import { registerAction } from "./action.ts";
import { registerAgent } from "./agent.ts";
import { registerApply } from "./apply.ts";
import { registerCell } from "./cell.ts";
import { registerCompletion } from "./completion.ts";
import { registerContext } from "./context.ts";
import { registerDelete } from "./delete.ts";
import { registerDeletion } from "./deletion.ts";
import { registerDescribe } from "./describe.ts";
import { registerDiff } from "./diff.ts";
import { registerDoctor } from "./doctor.ts";
import { registerDrift } from "./drift.ts";
import { registerEvents } from "./events.ts";
import { registerExplain } from "./explain.ts";
import { registerGet } from "./get.ts";
import { registerHelp } from "./help.ts";
import { registerInstance } from "./instance.ts";
import { registerKey } from "./key.ts";
import { registerLogs } from "./logs.ts";
import { registerMember } from "./member.ts";
import type { Registration } from "./registration.ts";
import { registerRehearse } from "./rehearse.ts";
import { registerRelease } from "./release.ts";
import { registerSecret } from "./secret.ts";
import { registerSubscription } from "./subscription.ts";
import { registerSupportBundle } from "./support-bundle.ts";
import { registerTenant } from "./tenant.ts";
import { registerUsage } from "./usage.ts";
import { registerVersion } from "./version.ts";
import { registerWait } from "./wait.ts";
import { registerWhoAmI } from "./whoami.ts";

export const REGISTRATIONS: readonly Registration[] = [
  registerApply,
  registerDiff,
  registerGet,
  registerDescribe,
  registerDelete,
  registerWait,
  registerInstance,
  registerRehearse,
  registerAction,
  registerDrift,
  registerDeletion,
  registerCell,
  registerAgent,
  registerSecret,
  registerRelease,
  registerTenant,
  registerSubscription,
  registerMember,
  registerKey,
  registerEvents,
  registerLogs,
  registerExplain,
  registerUsage,
  registerContext,
  registerWhoAmI,
  registerDoctor,
  registerSupportBundle,
  registerCompletion,
  registerVersion,
  registerHelp,
];
