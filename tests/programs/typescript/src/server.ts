// SPDX-License-Identifier: Apache-2.0
//
// A shop's basket: types, generics, a class, several files; Node.js leaves the types out by itself.
import { serve } from '@hono/node-server';
import { Hono } from 'hono';

import { Basket } from './basket.ts';
import { type Line, lineSchema, total } from './line.ts';
import { Store } from './store.ts';

const version: number = 1;
const baskets = new Store<Basket>((id) => new Basket(id));
const app = new Hono();

app.get('/version', (c) => c.json({ version }));
app.get('/baskets/:id', (c) => c.json(baskets.get(c.req.param('id')).toJSON()));
app.post('/baskets/:id', async (c) => {
  const parsed = lineSchema.safeParse(await c.req.json().catch(() => undefined));
  if (!parsed.success) return c.json({ error: parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) }, 400);
  baskets.get(c.req.param('id')).add(parsed.data satisfies Line);
  return c.json(baskets.get(c.req.param('id')).toJSON(), 201);
});
app.post('/total', async (c) => c.json({ total: total((await c.req.json()) as Line[]) }));

serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000) });
