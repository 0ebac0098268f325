/**
 * The standard methods of one kind as RPCs: takes what all requests of a kind have in common out of them and
 * puts the answer under the field that the contract names. One place instead of one copy for each kind.
 */
import { create, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { Call } from "../app/caller.ts";
import type { AppDeps } from "../app/deps.ts";
import type { ObjectMessage } from "../app/metadata.ts";
import { mutate } from "../app/mutation.ts";
import {
  createObject,
  deleteObject,
  getObject,
  type Kind,
  listObjects,
  updateObject,
} from "../app/standard.ts";

/** Requests of reading methods name the object under the kind's own field. */
export type GetLike = Readonly<{ tenant?: string }>;
export type ListLike = Readonly<{
  pageSize: number;
  pageToken: string;
  tenant?: string;
  labels?: Readonly<Record<string, string>>;
  filter: string;
  orderBy: string;
}>;
type WriteLike = Readonly<{ validateOnly: boolean; requestId: string; allowMissing?: boolean }>;
type DeleteLike = GetLike & Omit<WriteLike, "allowMissing"> & Readonly<{ etag: string }>;

export function get<M extends ObjectMessage>(deps: AppDeps, kind: Kind<M>) {
  return (call: Call, request: GetLike, text: string): Promise<M> =>
    getObject(deps, call, kind, { text, tenant: request.tenant ?? "" });
}

export function list<M extends ObjectMessage>(deps: AppDeps, kind: Kind<M>) {
  return (call: Call, request: ListLike) => listObjects(deps, call, kind, request);
}

type Schemas<Q extends Message, A extends Message> = Readonly<{
  request: GenMessage<Q>;
  answer: GenMessage<A>;
}>;

/** `message` is what the request carries, `wrap` puts the changed one into the answer. */
export function createMethod<
  M extends ObjectMessage,
  Q extends Message & WriteLike,
  A extends Message,
>(deps: AppDeps, kind: Kind<M>, schemas: Schemas<Q, A>, shape: Shape<M, Q, A>) {
  return (call: Call, request: Q): Promise<A> =>
    mutate(deps, mutationOf(call, request, schemas), async (tx) => {
      const made = await createObject({ deps, call, tx }, kind, messageIn(shape, request));
      return create(schemas.answer, shape.wrap(made));
    });
}

export function updateMethod<
  M extends ObjectMessage,
  Q extends Message & WriteLike,
  A extends Message,
>(deps: AppDeps, kind: Kind<M>, schemas: Schemas<Q, A>, shape: Shape<M, Q, A>) {
  return (call: Call, request: Q): Promise<A> =>
    mutate(deps, mutationOf(call, request, schemas), async (tx) => {
      const message = messageIn(shape, request);
      const allowMissing = request.allowMissing ?? false;
      const changed = await updateObject({ deps, call, tx }, kind, message, allowMissing);
      return create(schemas.answer, shape.wrap(changed));
    });
}

export function deleteMethod<
  M extends ObjectMessage,
  Q extends Message & DeleteLike,
  A extends Message,
>(
  deps: AppDeps,
  kind: Kind<M>,
  schemas: Schemas<Q, A>,
  shape: Readonly<{ text(request: Q): string; wrap(message: M): Init<A> }>,
) {
  return (call: Call, request: Q): Promise<A> =>
    mutate(deps, mutationOf(call, request, schemas), async (tx) => {
      const { tenant = "", etag } = request;
      const asked = { text: shape.text(request), tenant, etag };
      const ended = await deleteObject({ deps, call, tx }, kind, asked);
      return create(schemas.answer, shape.wrap(ended));
    });
}

type Init<A extends Message> = MessageInitShape<GenMessage<A>>;
type Shape<M, Q, A extends Message> = Readonly<{
  message(request: Q): M | undefined;
  wrap(message: M): Init<A>;
}>;

function messageIn<M, Q, A extends Message>({ message }: Shape<M, Q, A>, request: Q): M {
  const found = message(request);
  // The contract's rules have refused such a request before.
  if (found === undefined) throw new RangeError("the object is required by the contract");
  return found;
}

function mutationOf<
  Q extends Message & Pick<WriteLike, "validateOnly" | "requestId">,
  A extends Message,
>(call: Call, request: Q, schemas: Schemas<Q, A>) {
  const { validateOnly, requestId } = request;
  return {
    call,
    request,
    validateOnly,
    requestId,
    requestSchema: schemas.request,
    answerSchema: schemas.answer,
  };
}
