// SPDX-License-Identifier: Apache-2.0
//
// Loads files of Node.js' own library, which the pinned Node.js brings (builtins.mjs), as its own bootstrap does: each is a function of
// (exports, require, module, process, internalBinding, primordials). Where they would reach for the system, replaced.js stands in.
import { apply, become, codeError, compile, compiled, create, defineProperty, kAddress, languages, process, SafeMap } from 'isola:born';
import { bindings } from './bindings.js';
import { makePrimordials } from './primordials.js';
import { replaced } from './replaced.js';

const modules = new SafeMap(); // id → { exports }
const made = new SafeMap(); // name → binding

function internalBinding(name) {
  let binding = made.get(name);
  if (binding === undefined) {
    if (bindings[name] === undefined) throw codeError('MODULE_NOT_FOUND', `isolates have no binding "${name}"`);
    made.set(name, binding = bindings[name](load));
  }
  return binding;
}

// What Node.js' util.inspect takes for built into the language: the globals there are before ours.
function ofLanguage() {
  const globals = {};
  for (let i = 0; i < languages.length; i++) globals[languages[i]] = undefined;
  return create(primordials, { globalThis: { __proto__: null, value: globals } });
}

let primordials;
function ready() {
  primordials = makePrimordials();
  const fn = compile('internal/per_context/primordials', true);
  apply(fn, undefined, [{}, primordials, {}, {}]);
  compiled('internal/per_context/primordials', fn);
}

// For TextDecoder there is what it takes of ICU; the rest does without.
const withIcu = (name) => (name === 'config' ? { hasIntl: true } : internalBinding(name));

// What the codec looks for: it is sent as a stream (streams.js), not as what it is made of.
const sendable = (Class) => defineProperty(Class.prototype, kAddress, { __proto__: null, value: Class });

/** A module of Node.js' library, or what stands in for it. */
export function load(specifier) {
  const id = specifier.startsWith('node:') ? specifier.slice(5) : specifier;
  let module = modules.get(id);
  if (module !== undefined) return module.exports;
  if (primordials === undefined) ready();
  module = { exports: {}, id };
  modules.set(id, module);
  try {
    if (replaced[id] !== undefined) {
      module.exports = replaced[id](load);
    } else {
      const fn = compile(id, false);
      apply(fn, undefined, [module.exports, load, module, process, id === 'internal/encoding' ? withIcu : internalBinding, id === 'internal/util/inspect' ? ofLanguage() : primordials]);
      compiled(id, fn);
      if (id === 'internal/webstreams/readablestream') sendable(module.exports.ReadableStream);
      if (id === 'internal/webstreams/writablestream') sendable(module.exports.WritableStream);
      if (id === 'events') become(module.exports);
      if (id === 'internal/util/debuglog') module.exports.initializeDebugEnv(undefined);
    }
  } catch (error) {
    modules.delete(id);
    throw error;
  }
  return module.exports;
}

/** DOMException, which is made apart from the modules. */
let dom;
export function domException() {
  if (dom === undefined) {
    const exports = {};
    const { privateSymbols } = internalBinding('util');
    apply(compile('internal/per_context/domexception', true), undefined, [exports, primordials, privateSymbols, internalBinding('symbols')]);
    dom = exports.DOMException;
  }
  return dom;
}
