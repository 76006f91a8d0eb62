// SPDX-License-Identifier: Apache-2.0
//
// An ordinary Fastify program: a plugin, schemas, hooks. It listens where Fastify does when nobody says: on all addresses of localhost.
import Fastify from 'fastify';
import notes from './notes.js';

const release = '1';
const app = Fastify({ logger: true, disableRequestLogging: true });
app.addHook('onSend', async (request, reply, payload) => { reply.header('x-version', release); return payload; });
app.register(notes, { prefix: '/notes' });
app.setErrorHandler((error, request, reply) => reply.code(error.statusCode ?? 500).send({ error: error.message }));
await app.listen({ port: Number(process.env.PORT ?? 3000) });
