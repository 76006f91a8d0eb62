// SPDX-License-Identifier: Apache-2.0
const note = { type: 'object', properties: { id: { type: 'integer' }, text: { type: 'string' } } };
const body = { type: 'object', required: ['text'], additionalProperties: false, properties: { text: { type: 'string', minLength: 1, maxLength: 1000 } } };
const params = { type: 'object', properties: { id: { type: 'integer' } } };

export default async function notes(app) {
  const all = new Map([[1, { id: 1, text: 'water the plants', secret: 'no schema has it, so nobody sees it' }]]);
  app.get('/', { schema: { response: { 200: { type: 'array', items: note } } } }, async () => [...all.values()]);
  app.get('/:id', { schema: { params, response: { 200: note } } }, async (request, reply) => all.get(request.params.id) ?? reply.code(404).send({ error: `there is no note ${request.params.id}` }));
  app.post('/', { schema: { body, response: { 201: note } } }, async (request, reply) => {
    const made = { id: all.size + 1, text: request.body.text };
    all.set(made.id, made);
    return reply.code(201).send(made);
  });
}
