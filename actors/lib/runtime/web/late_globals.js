// SPDX-License-Identifier: Apache-2.0
//
// The globals that are made when they are first looked at; globals.js has their names.
import { domException, load } from '../node/loader.js';
import { webCrypto } from './crypto.js';
import { errorEvent } from './error_event.js';
import { fetch } from './fetch.js';
import { messageChannel } from './message_channel.js';

const modules = {
  'buffer': ['Buffer', 'atob', 'btoa'],
  'internal/abort_controller': ['AbortController', 'AbortSignal'],
  'internal/blob': ['Blob'],
  'internal/encoding': ['TextEncoder', 'TextDecoder'],
  'internal/event_target': ['Event', 'EventTarget', 'CustomEvent'],
  'internal/file': ['File'],
  'internal/url': ['URL', 'URLSearchParams'],
  'internal/urlpattern': ['URLPattern'],
  'internal/fetch': ['FormData', 'Headers', 'Request', 'Response'],
  'stream/web': ['ReadableStream', 'ReadableStreamDefaultReader', 'ReadableStreamBYOBReader', 'ReadableStreamBYOBRequest', 'ReadableByteStreamController',
    'ReadableStreamDefaultController', 'TransformStream', 'TransformStreamDefaultController', 'WritableStream', 'WritableStreamDefaultController',
    'WritableStreamDefaultWriter', 'ByteLengthQueuingStrategy', 'CountQueuingStrategy', 'TextEncoderStream', 'TextDecoderStream'],
  'internal/webstreams/compression': ['CompressionStream', 'DecompressionStream'],
};

/** The value of a global. */
export function global(name) {
  for (const id in modules) if (modules[id].includes(name)) return load(id)[name];
  if (name === 'fetch') return fetch;
  if (name === 'DOMException') return domException();
  if (name === 'ErrorEvent') return errorEvent(load);
  return name.startsWith('Message') ? messageChannel(load)[name] : webCrypto()[name];
}
