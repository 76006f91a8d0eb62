// SPDX-License-Identifier: Apache-2.0
//
// What every service has loaded before its own code (docs/services.md), so that an unchanged Node.js program
//
//   - shares its port with the other instances of its node: what listens on $PORT does so with SO_REUSEPORT;
//   - tells the agent when it listens there;
//   - ends in order at SIGTERM: unless it takes that signal itself, and then has its own way, it takes no new connections, answers what it has been
//     asked, says `Connection: close` to who stays (of HTTP/2, GOAWAY), and closes after a second what has nothing to say, and WebSockets;
//   - finds the package `isola` (package.cjs).
//
// Threads and child processes of the program load it too, as they have its options: they share the port as well, but only
// the program itself talks to the agent. Of node:cluster it is the primary that listens, as without us, and that gives each
// connection to a worker; at SIGTERM it asks the workers to end in the same order.
'use strict';
const cluster = require('node:cluster');
const { closeSync } = require('node:fs');
const net = require('node:net');
const { isMainThread } = require('node:worker_threads');
require('./package.cjs');

const IDLE = 1000; // ms a connection without a request may stay when the program is to end
const REST = 5000; // ms until what it has not taken over is let go of
const ELSEWHERE = 1000; // ms after which who listens elsewhere, and not on the port, is taken to have another one written in
const LAST_STREAM = 2 ** 31 - 1; // of an HTTP/2 session: any
const LAST = 10; // turns of the event loop after the end of its connections

const port = Number(process.env.PORT);
const own = isMainThread && process.env.ISOLA_PROCESS === String(process.pid);
const asked = process.env.ISOLA_HEALTH !== undefined; // the agent looks how it is
const { listen } = net.Server.prototype;
const shared = new Map(); // servers that listen on the port → the handle by which they do
const upgraded = new Set(); // their connections that speak something else than HTTP by now: WebSockets, which end when somebody ends them
const sessions = new Set(); // of HTTP/2, which clients keep for all their requests
let leaving = false;
let served = false; // something has been asked to listen on the port

const LEAVE = 'NODE_ISOLA_LEAVE'; // from a primary to its workers, internal to Node.js by its first letters

process.env.NODE_ENV ??= 'production'; // a file of variables has been read by now

const tell = (more) => {
  if (own && process.connected) process.send({ isola: 'listening', ...more }, undefined, undefined, () => {}); // an agent that is gone has no need of it
};

// The sockets of the process that this one replaces, by their addresses, if there is one: who takes one over has what waits in its queue, which would be
// lost with it. They are of use for the same addresses alone: others are closed, so that nobody waits there for ever.
const GIVEN_FD = 4; // the first one's descriptor
const given = new Map(own ? process.env.ISOLA_LISTEN?.split('\n').map((address, i) => [address, GIVEN_FD + i]) : []);
const addressOf = ({ host, ipv6Only }) => JSON.stringify([host ?? null, ipv6Only ?? false]);
const closeGiven = () => {
  for (const fd of given.values()) closeSync(fd);
  given.clear();
};
const taken = (options) => {
  const address = addressOf(options), fd = given.get(address);
  if (fd === undefined) {
    closeGiven();
    return options;
  }
  given.delete(address);
  if (given.size > 0) setTimeout(closeGiven, REST).unref(); // a program that listens on several does so one after the other
  return { fd, backlog: options.backlog };
};

// The agent asks for the health of this very process, not of one of those that share its port: so there is a port of this machine where the same
// server answers alone.
const alone = (server, more) => {
  const gate = net.createServer((socket) => server.emit('connection', socket));
  server.once('close', () => gate.close());
  gate.on('error', () => tell(more)); // the shared port has to do
  listen.call(gate, 0, '127.0.0.1', () => tell({ ...more, port: gate.address().port }));
  gate.unref();
};

// Notes the connections of an HTTP server that are upgraded. Without a listener of its own it upgrades none, which ours must not change.
const watchUpgrades = (server) => {
  const note = (request, socket) => {
    upgraded.add(socket);
    socket.once('close', () => upgraded.delete(socket));
  };
  for (const event of ['upgrade', 'connect']) {
    const watch = (added) => {
      if (added !== event) return;
      server.off('newListener', watch);
      server.prependListener(event, note);
    };
    if (server.listenerCount(event) > 0) server.prependListener(event, note);
    else server.on('newListener', watch);
  }
};

const watchSessions = (server) => {
  server.on('session', (session) => {
    if (typeof session?.goaway !== 'function') return; // another protocol's
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    if (leaving) setImmediate(retire, session); // its connection had been made before
  });
};
// Its client is told to send no more, and what it had sent before it heard of that is answered.
const retire = (session) => {
  if (session.destroyed) return;
  session.goaway(0, LAST_STREAM);
  setTimeout(() => session.close(), IDLE);
};

// The forms that net.Server#listen takes a port in: listen(port, host, backlog, done), all but the port optional, or listen(options, done).
const withReuse = (args) => {
  const [first, ...rest] = args;
  if (typeof first === 'object' && first !== null) {
    const plain = !(typeof first.fd === 'number' && first.fd >= 0) && !first._handle && !first.handle; // as net has it: a port goes before a path, which may be there and false
    return plain && Number(first.port) === port ? [{ ...first, reusePort: true }, ...rest] : undefined;
  }
  if ((typeof first !== 'number' && typeof first !== 'string') || first === '' || Number(first) !== port) return undefined;
  const done = typeof rest.at(-1) === 'function' ? [rest.at(-1)] : [];
  const host = typeof rest[0] === 'string' ? rest[0] : undefined;
  const backlog = [rest[0], rest[1]].find((v) => typeof v === 'number');
  return [{ port, host, backlog, reusePort: true }, ...done];
};

// `reusePort` makes a worker listen on its own, which would be nothing its primary hears of: it is to ask the primary for a socket as ever, with the flag
// for the case that there is one for all workers (cluster.SCHED_NONE).
const throughPrimary = (options) => (options.exclusive ? options : { ...options, get exclusive() { return false; }, set exclusive(_) {} });

// A program that has its port written in does not listen where it is asked to: that is told when it has had the time to do so.
const watchElsewhere = (server) => {
  server.once('listening', () => {
    const { port: other } = server.address() ?? {};
    if (typeof other === 'number') setTimeout(() => { if (!served && server.listening) tell({ isola: 'elsewhere', port: other }); }, ELSEWHERE).unref();
  });
};

if (port > 0) {
  net.Server.prototype.listen = function (...args) {
    const reuse = withReuse(args);
    if (reuse === undefined) {
      if (own && !served) watchElsewhere(this);
      return listen.apply(this, args);
    }
    served = true;
    this.once('listening', () => {
      const handle = this._handle;
      shared.set(this, handle);
      this.once('close', () => shared.delete(this));
      const more = { fd: handle.fd, address: addressOf(reuse[0]) };
      process.nextTick(() => { // a primary has taken the handle from its server by then: its workers answer, not the server
        if (asked && own && this._handle === handle) alone(this, more);
        else tell(more);
      });
    });
    watchUpgrades(this);
    watchSessions(this);
    return listen.call(this, cluster.isWorker ? throughPrimary(reuse[0]) : taken(reuse[0]), ...reuse.slice(1));
  };
  if (own) {
    cluster.on('listening', (worker, address) => {
      if (address.port !== port) return;
      served = true;
      if (shared.size === 0) tell({}); // SCHED_NONE: no server of the primary does
    });
  }
}

// Who stays is told to go,
const keepNone = () => {
  for (const server of shared.keys()) {
    // One for 'stream' alone, as gRPC's are, would read requests in two ways with a listener for 'request'.
    if (server.listenerCount('request') > 0) server.prependListener('request', (request, response) => { response.shouldKeepAlive = false; });
  }
};
// and ended when it has nothing to say.
const dismiss = () => {
  keepNone();
  for (const session of sessions) retire(session);
  setTimeout(() => { for (const socket of upgraded) socket.end(); }, IDLE);
};
if (cluster.isWorker) process.on('internalMessage', ({ cmd }) => {
  if (cmd !== LEAVE || leaving) return;
  leaving = true;
  dismiss();
});

// A program that ends itself closes its server, and http.Server's close() ends what is idle at once, also connections that a request is on its way on:
// that waits, as it does for others.
let lingers = false;
const linger = () => {
  if (lingers) return;
  lingers = true;
  keepNone();
  const end = performance.now() + IDLE;
  for (const server of shared.keys()) {
    const { closeIdleConnections } = server;
    if (typeof closeIdleConnections !== 'function') continue;
    server.closeIdleConnections = function () {
      const left = end - performance.now();
      if (left > 0) setTimeout(() => closeIdleConnections.call(this), left);
      else closeIdleConnections.call(this);
    };
  }
};

if (own) {
  const onTerm = () => {
    if (leaving) return;
    if (process.listenerCount('SIGTERM') > 1) return linger(); // the rest is the program's own affair
    leaving = true;
    const end = async () => {
      await globalThis[Symbol.for('isola.service')]?.idle(); // asks it has are answered
      setImmediate(() => { // and the answers written
        process.off('SIGTERM', onTerm);
        process.kill(process.pid, 'SIGTERM');
      });
    };
    // The last connection is closed: the program is yet to hear of it, and to say what it has to say to others.
    const settle = (turns) => (turns === 0 ? end() : setImmediate(settle, turns - 1));
    const workers = Object.values(cluster.workers ?? {});
    let open = shared.size + workers.length;
    if (open === 0) return end();
    const less = () => { if (--open === 0) settle(LAST); };
    dismiss();
    for (const [server, handle] of [...shared]) {
      if (server._handle === null) handle.close(); // a primary's: what it has accepted still goes to its workers
      // Not http.Server's own close(), which would end connections that a request may be on its way on.
      net.Server.prototype.close.call(server, less);
      setTimeout(() => server.closeIdleConnections?.(), IDLE);
    }
    for (const worker of workers) {
      worker.once('disconnect', less);
      if (worker.isConnected()) worker.process.send({ cmd: LEAVE }, undefined, undefined, () => {});
      setTimeout(() => { if (worker.isConnected()) worker.disconnect(); }, IDLE); // it closes its servers, and is gone from here when all is answered
    }
  };
  process.on('SIGTERM', onTerm);

  // `ctl inspect`: the agent sends SIGUSR1, at which Node.js opens its inspector, on a free port as it is asked to here; and tells it when to close it.
  process.debugPort = 0;
  cluster.settings.inspectPort = 0; // else each worker, which has our options of the inspector, is given the next port, 1, and refuses to start
  process.on('internalMessage', ({ cmd }) => {
    if (cmd !== 'NODE_ISOLA_INSPECTOR_CLOSE') return;
    require('node:inspector').close();
    process.debugPort = 0;
  });
}
delete process.env.ISOLA_PROCESS;
delete process.env.ISOLA_HEALTH;
delete process.env.ISOLA_LISTEN;
