# SPDX-License-Identifier: Apache-2.0
# A Worker and its Durable Objects, all in memory; the socket's address comes from the command line.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [ (name = "main", worker = .main) ],
  sockets = [ (name = "http", http = (), service = "main") ]
);

const main :Workerd.Worker = (
  modules = [ (name = "worker", esModule = embed "worker.js") ],
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [ (className = "Echo", uniqueKey = "echo") ],
  durableObjectStorage = (inMemory = void),
  bindings = [ (name = "echo", durableObjectNamespace = "Echo") ]
);
