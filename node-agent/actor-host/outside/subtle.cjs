// SPDX-License-Identifier: Apache-2.0
//
// crypto.subtle for scripts, by Node's own (actors/lib/runtime/web/subtle.js says what comes and goes). Keys come as bytes with each
// operation and are imported for it: nothing is kept here.
//
// The work is done by libuv's threads, which others need too, and cannot be stopped: so there is a bound to what one operation may
// take, few run at once, and askers take turns.
'use strict';

const AT_ONCE = 2;
const ITERATIONS_MAX = 5_000_000; // of PBKDF2: some seconds
const MODULUS_MAX = 4096; // bits of an RSA key that is made

const fail = (name, message) => new DOMException(message, name);
const { subtle } = globalThis.crypto;

/** In which form the bytes of a key are kept. */
const FORMATS = { public: 'spki', private: 'pkcs8' };
const secretFormat = (algorithm) => (/^(AES-(CBC|CTR|GCM|KW)|HMAC|HKDF|PBKDF2)$/i.test(algorithm.name) ? 'raw' : 'raw-secret');
const derives = (algorithm) => /^(HKDF|PBKDF2|Argon2.*)$/i.test(algorithm.name);

/** Arguments as they were before they were packed. */
async function unpack(args, block) {
  const bytes = ([offset, length]) => block.subarray(offset, offset + length);
  const one = async (value) => {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return Promise.all(value.map(one));
    if (value.k !== undefined) return subtle.importKey(value.k.format, bytes(value.b), value.k.algorithm, !derives(value.k.algorithm), value.k.usages);
    if (value.b !== undefined) return bytes(value.b);
    const o = {};
    for (const [name, v] of Object.entries(value.o)) o[name] = await one(v);
    return o;
  };
  return Promise.all(args.map(one));
}

const plain = (algorithm) => ({ ...algorithm, publicExponent: algorithm.publicExponent && [...algorithm.publicExponent] });

/** A key's description and bytes. */
async function describe(key, bytes) {
  const format = FORMATS[key.type] ?? secretFormat(key.algorithm);
  return {
    key: { type: key.type, algorithm: plain(key.algorithm), usages: key.usages, format },
    bytes: bytes ?? Buffer.from(await subtle.exportKey(format, key)),
  };
}

async function answerKey(job, made, bytes) {
  if (made.publicKey === undefined) {
    const { key, bytes: b } = await describe(made, bytes);
    return job.answer(true, { key }, b);
  }
  const [a, b] = [await describe(made.publicKey), await describe(made.privateKey)];
  const pair = { publicKey: { key: a.key, at: [0, a.bytes.length] }, privateKey: { key: b.key, at: [a.bytes.length, b.bytes.length] } };
  return job.answer(true, { pair }, Buffer.concat([a.bytes, b.bytes]));
}

function bound(algorithm) {
  if (algorithm?.iterations > ITERATIONS_MAX) throw fail('OperationError', `PBKDF2 takes at most ${ITERATIONS_MAX} iterations here`);
  if (algorithm?.modulusLength > MODULUS_MAX) throw fail('OperationError', `keys are made with at most ${MODULUS_MAX} bits here`);
  if (algorithm?.memory !== undefined || algorithm?.passes !== undefined) throw fail('NotSupportedError', 'Argon2 is not supported here');
}

const operations = {
  __proto__: null,
  async importKey(job, format, data, algorithm, usages, extractable) {
    const what = format === 'jwk' ? { ...data, ext: undefined } : data;
    const key = await subtle.importKey(format, what, algorithm, !derives(typeof algorithm === 'string' ? { name: algorithm } : algorithm) || extractable, usages);
    return answerKey(job, key, derives(key.algorithm) ? Buffer.from(data) : undefined);
  },
  async exportKey(job, format, key) {
    const made = await subtle.exportKey(format, key);
    return format === 'jwk' ? job.answer(true, { jwk: made }) : job.answer(true, {}, Buffer.from(made));
  },
  async generateKey(job, algorithm, usages) {
    bound(algorithm);
    return answerKey(job, await subtle.generateKey(algorithm, true, usages));
  },
  async deriveKey(job, algorithm, key, derived, usages) {
    bound(algorithm);
    if (derives(derived)) throw fail('NotSupportedError', `a key for ${derived.name} cannot be derived here; deriveBits and importKey can make one`);
    return answerKey(job, await subtle.deriveKey(algorithm, key, derived, true, usages));
  },
  async deriveBits(job, algorithm, key, length) {
    bound(algorithm);
    return job.answer(true, {}, Buffer.from(await subtle.deriveBits(algorithm, key, length)));
  },
  async unwrapKey(job, format, wrapped, key, algorithm, unwrapped, usages) {
    return answerKey(job, await subtle.unwrapKey(format, wrapped, key, algorithm, unwrapped, true, usages));
  },
  async verify(job, ...args) {
    return job.answer(true, { value: await subtle.verify(...args) });
  },
};
for (const name of ['encrypt', 'decrypt', 'sign', 'wrapKey'])
  operations[name] = async (job, ...args) => job.answer(true, {}, Buffer.from(await subtle[name](...args)));

async function run({ job, head, body }) {
  const { op, args } = JSON.parse(head);
  if (operations[op] === undefined) throw new Error(`there is no operation "${op}"`);
  return operations[op](job, ...(await unpack(args, body)));
}

const waiting = new Map(); // who → its jobs, in the order they came
let running = 0;
function pump() {
  while (running < AT_ONCE && waiting.size > 0) {
    const [who, list] = waiting.entries().next().value;
    waiting.delete(who);
    const next = list.shift();
    if (list.length > 0) waiting.set(who, list); // behind the others
    if (next.job.cancelled) continue;
    running++;
    run(next).catch(next.job.fail).finally(() => {
      running--;
      pump();
    });
  }
}

exports.start = (job, who, net, head, body) => {
  if (!waiting.has(who)) waiting.set(who, []);
  waiting.get(who).push({ job, head, body });
  pump();
};
exports.cancel = (job) => { job.cancelled = true; };
