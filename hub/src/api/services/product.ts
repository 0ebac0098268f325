/** ProductService over its use cases. */
import {
  CreateProductRequestSchema,
  CreateProductResponseSchema,
  type ProductService,
  UpdateProductRequestSchema,
  UpdateProductResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/product_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { PRODUCT } from "../../app/kinds/simple.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, get, list, updateMethod } from "../standard-methods.ts";

export function productUseCases(deps: AppDeps): UseCases<typeof ProductService> {
  return {
    getProduct: async (call, request) => ({
      product: await get(deps, PRODUCT)(call, {}, request.product),
    }),
    async listProducts(call, request) {
      const { items, nextPageToken } = await list(deps, PRODUCT)(call, request);
      return { products: items, nextPageToken };
    },
    createProduct: createMethod(
      deps,
      PRODUCT,
      { request: CreateProductRequestSchema, answer: CreateProductResponseSchema },
      { message: (request) => request.product, wrap: (product) => ({ product }) },
    ),
    updateProduct: updateMethod(
      deps,
      PRODUCT,
      { request: UpdateProductRequestSchema, answer: UpdateProductResponseSchema },
      { message: (request) => request.product, wrap: (product) => ({ product }) },
    ),
  };
}
