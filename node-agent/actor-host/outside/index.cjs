// SPDX-License-Identifier: Apache-2.0
//
// What scripts have done outside of their isolates (actors/io.c), on the main thread. Scripts' data are hostile: nothing of them is
// evaluated, and each job ends with an answer of its own or is cancelled.
//
// A kind of job is a module with start(job, who, net, head, body), `who` being the actor's address, and perhaps more(job) and cancel(job). job.answer(last, head, bytes)
// answers; job.fail(error) ends it with an error.
'use strict';

// Loaded when they are first asked for.
const kinds = {
  __proto__: null,
  fetch: () => require('./fetch.cjs'),
  subtle: () => require('./subtle.cjs'),
};

/** What a script is to know of an error. */
function describe(error, depth = 0) {
  if (typeof error !== 'object' || error === null) return { name: 'Error', message: String(error) };
  const cause = error.cause !== undefined && depth < 3 ? describe(error.cause, depth + 1) : undefined;
  const code = typeof error.code === 'string' || typeof error.code === 'number' ? error.code : undefined;
  return { name: String(error.name), message: String(error.message), code, cause };
}

/** `send(id, last, head, bytes)` answers a job. */
module.exports = (send) => {
  const jobs = new Map(); // id → { kind, … }

  function make(id, kind) {
    const job = {
      kind,
      answer(last, head, bytes) {
        if (jobs.get(id) !== job) return; // cancelled
        if (last) jobs.delete(id);
        send(id, last, head === undefined ? undefined : JSON.stringify(head), bytes);
      },
      fail: (error) => job.answer(true, { error: describe(error) }),
    };
    jobs.set(id, job);
    return job;
  }

  return {
    start(id, what, who, net, head, body) {
      const job = make(id, undefined);
      try {
        if (kinds[what] === undefined) throw new Error(`an actor-host cannot do "${what}"`);
        job.kind = kinds[what]();
        job.kind.start(job, who, net, head, body);
      } catch (error) {
        job.fail(error);
      }
    },
    more(id) {
      const job = jobs.get(id);
      job?.kind.more?.(job);
    },
    cancel(id) {
      const job = jobs.get(id);
      if (job === undefined) return;
      jobs.delete(id);
      job.kind.cancel?.(job);
    },
  };
};
