/** CellService over its use cases. */
import {
  type CellService,
  CreateCellRequestSchema,
  CreateCellResponseSchema,
  DeleteCellRequestSchema,
  DeleteCellResponseSchema,
  UpdateCellRequestSchema,
  UpdateCellResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { CELL } from "../../app/kinds/cell.ts";
import { createJoinToken, createTakeoverToken } from "../../app/tokens.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, deleteMethod, get, list, updateMethod } from "../standard-methods.ts";

export function cellUseCases(deps: AppDeps): UseCases<typeof CellService> {
  return {
    getCell: async (call, request) => ({
      cell: await get(deps, CELL)(call, request, request.cell),
    }),
    async listCells(call, request) {
      const { items, nextPageToken } = await list(deps, CELL)(call, request);
      return { cells: items, nextPageToken };
    },
    createCell: createMethod(
      deps,
      CELL,
      { request: CreateCellRequestSchema, answer: CreateCellResponseSchema },
      { message: (request) => request.cell, wrap: (cell) => ({ cell }) },
    ),
    updateCell: updateMethod(
      deps,
      CELL,
      { request: UpdateCellRequestSchema, answer: UpdateCellResponseSchema },
      { message: (request) => request.cell, wrap: (cell) => ({ cell }) },
    ),
    deleteCell: deleteMethod(
      deps,
      CELL,
      { request: DeleteCellRequestSchema, answer: DeleteCellResponseSchema },
      { text: (request) => request.cell, wrap: (cell) => ({ cell }) },
    ),
    createJoinToken: (call, request) => createJoinToken(deps, call, request),
    createTakeoverToken: (call, request) => createTakeoverToken(deps, call, request),
  };
}
