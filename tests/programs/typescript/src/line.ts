// SPDX-License-Identifier: Apache-2.0
import * as z from 'zod';

export const lineSchema = z.object({ name: z.string().min(1), price: z.number().nonnegative(), count: z.int().positive().default(1) });
export type Line = z.infer<typeof lineSchema>;

export const total = (lines: readonly Line[]): number => lines.reduce<number>((sum, { price, count }) => sum + price * count, 0);
