/** The customer's rules, as the engine asks them. Whoever answers sees what would be done, never a secret. */
import type { JsonObject, Step } from "../drivers/driver.ts";

/** What is to be done to one instance: all steps, with the renderings that they refer to. */
export type ConsentRequest = Readonly<{
  instanceId: string;
  product: string;
  /** Of the attempt's step list with its typed holes: an approval is one of this digest ("approve what you saw"). */
  stepsDigest: string;
  /** All of them; or those of one resource, now that their holes are filled. */
  steps: readonly Step[];
  resources: readonly Readonly<{ id: string; kind: string; spec: JsonObject }>[];
}>;

export type Consent =
  | Readonly<{ verdict: "allowed"; rule: string }>
  /** A person or a time window is missing; a normal state. */
  | Readonly<{ verdict: "held"; rule: string; message: string }>
  /** Never, whoever asks. */
  | Readonly<{ verdict: "vetoed"; rule: string; message: string }>;

export interface ConsentPort {
  /** Pure: the same question has the same answer until the rules change. */
  judge(request: ConsentRequest): Consent;
}
