// SPDX-License-Identifier: Apache-2.0
//
// What Node.js' library finds as `internalBinding(name)`: its C++ side, as far as isolates have it. Only what is used is here.
import { clone, frame, group, setFrame, settled, uncaught } from 'isola:born';
import { stringDecoder } from './string_decoder.js';
import { urlBinding } from './url.js';
import { zlibBinding } from './zlib.js';
import { blobBinding } from '../web/blob.js';
import { icu } from '../web/multibyte.js';
import { domException } from './loader.js';

const none = () => undefined;
const ENCODINGS = ['ascii', 'utf8', 'base64', 'utf16le', 'latin1', 'hex', 'buffer', 'base64url']; // actors/v8/encodings.hh

export const symbols = {};
for (const name of ['async_id_symbol', 'trigger_async_id_symbol', 'owner_symbol', 'resource_symbol', 'handle_onclose', 'no_message_symbol', 'oninit',
  'messaging_deserialize_symbol', 'messaging_transfer_symbol', 'messaging_clone_symbol', 'messaging_transfer_list_symbol',
  'onpskexchange', 'vm_dynamic_import_default_internal', 'imported_cjs_symbol'])
  symbols[name] = Symbol(name);

function util() {
  const natives = group('util');
  const privateSymbols = {};
  for (const name of ['arrow_message', 'contextify_context', 'decorated', 'transfer_mode', 'host_defined_option', 'entry_point_module', 'untransferable_object',
    'exit_info', 'source_map_data'])
    privateSymbols[`${name}_private_symbol`] = natives.privateSymbol(`node:${name}`);
  return {
    ...natives,
    privateSymbols,
    constants: {
      kPending: 0, kFulfilled: 1, kRejected: 2,
      kExiting: 0, kExitCode: 1, kHasExitCode: 2,
      ALL_PROPERTIES: 0, ONLY_WRITABLE: 1, ONLY_ENUMERABLE: 2, ONLY_CONFIGURABLE: 4, SKIP_STRINGS: 8, SKIP_SYMBOLS: 16,
      kDisallowCloneAndTransfer: 0, kTransferable: 1, kCloneable: 2,
    },
    shouldAbortOnUncaughtToggle: [0],
    markPromiseAsHandled: (promise) => { settled(promise, none, none); },
    guessHandleType: () => 0,
    isInsideNodeModules: () => true, // what is bundled: no warnings about deprecated habits
    getCallSites: () => [],
    getExternalValue: () => 0n,
    getSystemErrorName: none,
    getSharedArrayBufferGrowable: (b) => b.growable,
    constructSharedArrayBuffer: () => { throw new TypeError('there are no SharedArrayBuffers in isolates'); },
    arrayBufferViewHasBuffer: () => true,
    sleep: none,
    defineLazyProperties,
  };
}

let load;
/** Properties of `target` that are those of module `id`, loaded when one is first looked at. */
export function defineLazyProperties(target, id, keys, enumerable = true) {
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    const set = (value) => Object.defineProperty(target, key, { __proto__: null, writable: true, configurable: true, enumerable, value });
    Object.defineProperty(target, key, {
      __proto__: null, configurable: true, enumerable,
      get() { const value = load(id)[key]; set(value); return value; },
      set,
    });
  }
}

const buffer = () => ({ ...group('buffer'), ...group('search'), kMaxLength: Number.MAX_SAFE_INTEGER, kStringMaxLength: 0x1fffffe8, setDetachKey: none });

const make = {
  async_context_frame: () => ({ getContinuationPreservedEmbedderData: frame, setContinuationPreservedEmbedderData: setFrame }),
  blob: blobBinding,
  buffer,
  config: () => ({ hasIntl: false, hasInspector: false, hasOpenSSL: false, noBrowserGlobals: false }),
  constants: () => ({ os: { signals: {}, errno: {}, priority: {}, dlopen: {}, UV_UDP_REUSEADDR: 4 }, fs: {}, crypto: {}, get zlib() { return load('internal/zlib_constants'); }, trace: {}, internal: { EXTENSIONLESS_FORMAT_JAVASCRIPT: 0 } }),
  diagnostics_channel: () => ({ linkNativeChannel: none }),
  encoding_binding: () => {
    const natives = group('buffer');
    const url = group('url');
    const encodeIntoResults = new Uint32Array(2);
    return {
      ...natives,
      encodeIntoResults,
      encodeInto: (text, to) => natives.encodeInto(text, to, encodeIntoResults),
      toASCII: url.toASCII,
      toUnicode: url.toUnicode,
    };
  },
  errors: () => ({
    noSideEffectsToString: group('util').noSideEffectsToString,
    triggerUncaughtException: uncaught,
    exitCodes: { kNoFailure: 0, kGenericUserError: 1 },
    getErrorSourcePositions: none,
    setSourceMapsEnabled: none,
  }),
  icu: () => icu(group('buffer').ucs2Slice),
  messaging: () => ({ get DOMException() { return domException(); }, structuredClone: clone }),
  mksnapshot: () => ({}),
  options: () => ({ getCLIOptionsValues: () => ({}), getEmbedderOptions: () => ({}) }),
  os: () => ({}),
  stream_wrap: () => ({ streamBaseState: [], WriteWrap: class {}, ShutdownWrap: class {} }),
  string_decoder: () => stringDecoder(ENCODINGS, buffer()),
  symbols: () => symbols,
  timers: () => ({ getLibuvNow: group('util').now }),
  types: () => group('types'),
  url: () => urlBinding(group('url'), load),
  url_pattern: () => ({ URLPattern: undefined }),
  util,
  zlib: () => zlibBinding(() => load('buffer').Buffer),
  uv: () => ({ errname: (n) => `Unknown system error ${n}`, getErrorMap: () => new Map(), getErrorMessage: (n) => `Unknown system error ${n}` }),
};

export const bindings = {};
for (const name of Object.keys(make)) bindings[name] = (loader) => { load = loader; return make[name](); };
