// SPDX-License-Identifier: Apache-2.0
//
// Load on an HTTP server, as wrk makes it: clients that each ask again when they are answered, half of them on connections that stay, half on a new
// one each time. Whatever is no answer as it should be has failed: an error, a reset, a silence, a status from 500 on, another body.
import assert from 'node:assert/strict';
import http from 'node:http';

import { until } from './cluster.mjs';

const SILENCE = 30_000; // ms

/** One request: { status, headers, body }. `agent` keeps connections; without it, it has its own. */
export const ask = ({ port, host = '127.0.0.1', agent = false, body, ...options }) => new Promise((done, failed) => {
  const request = http.request({ port, host, agent, ...options }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part) => { text += part; }).on('error', failed);
    response.on('end', () => done({ status: response.statusCode, headers: response.headers, body: text }));
    response.on('close', () => response.complete || failed(new Error('the answer has no end')));
  });
  request.setTimeout(SILENCE, () => request.destroy(new Error(`no answer within ${SILENCE / 1000} s`)));
  request.on('error', failed).end(body);
});

export class Load {
  answered = 0;
  failures = [];

  #on = true;
  #agent;
  #clients;
  #began = performance.now();

  /**
   * `requests` are what is asked, one after the other: what `ask` takes, and `good`, which gets the answer, and `who` asks, and throws when it is another
   * than it should be. `hosts` are where: each client has one of them.
   */
  constructor(requests, { port, clients = 16, hosts = ['127.0.0.1'] }) {
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: clients });
    this.#clients = Array.from({ length: clients }, async (_, i) => {
      const agent = i % 2 === 0 && this.#agent, host = hosts[(i >> 1) % hosts.length];
      for (let at = i; this.#on; at++) {
        const { good, ...request } = requests[at % requests.length];
        try {
          const answer = await ask({ port, host, agent, ...request });
          assert.ok(answer.status < 500, `status ${answer.status}: ${answer.body.slice(0, 200)}`);
          good(answer, i);
          this.answered++;
        } catch (error) {
          this.failures.push(`${request.method ?? 'GET'} ${request.path} of ${host}, ${agent ? 'on a connection that stays' : 'on a new connection'}: ${error.code ?? ''} ${error.message.replaceAll('\n', ' ')}`);
        }
      }
    });
  }

  /** Waits until there were `n` more answers. */
  async more(n = 100) {
    const before = this.answered;
    await until(`${n} more answers`, () => this.answered >= before + n || this.failures.length > 0);
  }

  /** Ends it. */
  async stop() {
    this.#on = false;
    await Promise.all(this.#clients);
    this.#agent.destroy();
  }

  /** Ends it; nothing may have failed. What there was, in words. */
  async end() {
    await this.stop();
    const seconds = (performance.now() - this.#began) / 1000;
    assert.deepEqual(this.failures.slice(0, 10), [], `${this.failures.length} of ${this.answered + this.failures.length} requests failed`);
    return `${this.answered} requests, ${Math.round(this.answered / seconds)} a second, none failed`;
  }
}
