// SPDX-License-Identifier: Apache-2.0
//
// internalBinding('string_decoder'): decoding a stream's chunks without tearing characters apart. A decoder's state is a buffer of kSize
// bytes, which lib/string_decoder.js makes: the begun character, how many bytes it lacks and has, and the encoding.
const kIncompleteCharactersStart = 0;
const kIncompleteCharactersEnd = 4;
const kMissingBytes = 4;
const kBufferedBytes = 5;
const kEncodingField = 6;
const kNumFields = 7;

const UTF8 = 1, BASE64 = 2, UTF16 = 3, BASE64URL = 7;

/** How many bytes a character has that begins with `c`; 0: none begins so. */
const lengthOf = (c) => ((c & 0xe0) === 0xc0 ? 2 : (c & 0xf0) === 0xe0 ? 3 : (c & 0xf8) === 0xf0 ? 4 : 0);

/** [how many bytes at the end of `b` begin a character and do not end it, how many it lacks]. */
function unfinished(encoding, b) {
  const n = b.length;
  if (encoding === UTF8) {
    for (let back = 1; back <= 4 && back <= n; back++) {
      const c = b[n - back];
      if ((c & 0xc0) === 0x80) continue;
      const need = lengthOf(c);
      return back < need ? [back, need - back] : [0, 0];
    }
    return [0, 0];
  }
  if (encoding === UTF16) {
    if (n % 2 === 1) return [1, 1];
    return (b[n - 1] & 0xfc) === 0xd8 ? [2, 2] : [0, 0]; // a high surrogate waits for its low one
  }
  const rest = n % 3;
  return [rest, rest === 0 ? 0 : 3 - rest];
}

export function stringDecoder(encodings, buffer) {
  const { utf8Slice, ucs2Slice, base64Slice, base64urlSlice, asciiSlice, latin1Slice, hexSlice } = buffer;
  const slices = [asciiSlice, utf8Slice, base64Slice, ucs2Slice, latin1Slice, hexSlice, latin1Slice, base64urlSlice];
  const text = (encoding, bytes) => slices[encoding](bytes, 0, bytes.length);
  const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

  function keep(state, bytes) {
    for (let i = 0; i < bytes.length; i++) state[state[kBufferedBytes]++] = bytes[i];
  }

  function buffered(state) {
    const bytes = new Uint8Array(state[kBufferedBytes]);
    for (let i = 0; i < bytes.length; i++) bytes[i] = state[i];
    return text(state[kEncodingField], bytes);
  }

  /** The begun character, with what `bytes` has of it; returns how many bytes that was. */
  function finish(state, bytes) {
    let take = bytes.length < state[kMissingBytes] ? bytes.length : state[kMissingBytes];
    let ended = take === state[kMissingBytes];
    if (state[kEncodingField] === UTF8) {
      for (let i = 0; i < take; i++) {
        if ((bytes[i] & 0xc0) === 0x80) continue;
        take = i; // it ends here, and is none
        ended = true;
      }
    }
    keep(state, bytes.subarray(0, take));
    state[kMissingBytes] = ended ? 0 : state[kMissingBytes] - take;
    return take;
  }

  function decode(state, view) {
    const encoding = state[kEncodingField];
    let bytes = bytesOf(view);
    if (encoding !== UTF8 && encoding !== UTF16 && encoding !== BASE64 && encoding !== BASE64URL) return text(encoding, bytes);
    let before = '';
    if (state[kMissingBytes] > 0) {
      bytes = bytes.subarray(finish(state, bytes));
      if (state[kMissingBytes] > 0) return '';
      before = buffered(state);
      state[kBufferedBytes] = 0;
    }
    if (bytes.length === 0) return before;
    const [rest, missing] = unfinished(encoding, bytes);
    keep(state, bytes.subarray(bytes.length - rest));
    state[kMissingBytes] = missing;
    return before + text(encoding, bytes.subarray(0, bytes.length - rest));
  }

  function flush(state) {
    if (state[kEncodingField] === UTF16) state[kBufferedBytes] -= state[kBufferedBytes] % 2;
    const rest = buffered(state);
    state[kBufferedBytes] = state[kMissingBytes] = 0;
    return rest;
  }

  return {
    encodings, decode, flush,
    kIncompleteCharactersStart, kIncompleteCharactersEnd, kMissingBytes, kBufferedBytes, kEncodingField, kNumFields, kSize: kNumFields,
  };
}
