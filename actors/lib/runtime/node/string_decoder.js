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

/** How many bytes at the end of `b` begin a character and do not end it; and how many it lacks. */
function unfinished(encoding, b) {
  const n = b.length;
  if (encoding === UTF8) {
    for (let back = 1; back <= 3 && back <= n; back++) {
      const c = b[n - back];
      if ((c & 0xc0) === 0x80) continue;
      const need = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) === 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 1;
      if (need <= back) return [0, 0];
      if (back > 1) { // what follows must be able to
        const second = b[n - back + 1];
        const low = c === 0xe0 ? 0xa0 : c === 0xf0 ? 0x90 : 0x80;
        const high = c === 0xed ? 0x9f : c === 0xf4 ? 0x8f : 0xbf;
        if (second < low || second > high) return [0, 0];
      }
      return [back, need - back];
    }
    return [0, 0];
  }
  if (encoding === UTF16) {
    const odd = n % 2;
    if (n - odd >= 2 && (b[n - odd - 1] & 0xfc) === 0xd8) return [2 + odd, 2 - odd]; // a high surrogate waits for its low one
    return [odd, odd];
  }
  const rest = n % 3;
  return [rest, rest === 0 ? 0 : 3 - rest];
}

export function stringDecoder(encodings, buffer) {
  const { utf8Slice, ucs2Slice, base64Slice, base64urlSlice, asciiSlice, latin1Slice, hexSlice } = buffer;
  const slices = [asciiSlice, utf8Slice, base64Slice, ucs2Slice, latin1Slice, hexSlice, latin1Slice, base64urlSlice];
  const text = (encoding, bytes) => slices[encoding](bytes, 0, bytes.length);
  const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

  function decode(state, view) {
    const encoding = state[kEncodingField];
    let bytes = bytesOf(view);
    if (encoding !== UTF8 && encoding !== UTF16 && encoding !== BASE64 && encoding !== BASE64URL) return text(encoding, bytes);
    const had = state[kBufferedBytes];
    if (had > 0) {
      const joined = new Uint8Array(had + bytes.length);
      for (let i = 0; i < had; i++) joined[i] = state[i];
      joined.set(bytes, had);
      bytes = joined;
    }
    const [keep, missing] = unfinished(encoding, bytes);
    const whole = bytes.length - keep;
    for (let i = 0; i < keep; i++) state[i] = bytes[whole + i];
    state[kBufferedBytes] = keep;
    state[kMissingBytes] = missing;
    return text(encoding, bytes.subarray(0, whole));
  }

  function flush(state) {
    const encoding = state[kEncodingField];
    let n = state[kBufferedBytes];
    if (encoding === UTF16) n -= n % 2;
    const bytes = new Uint8Array(n);
    for (let i = 0; i < n; i++) bytes[i] = state[i];
    state[kBufferedBytes] = state[kMissingBytes] = 0;
    return text(encoding, bytes);
  }

  return {
    encodings, decode, flush,
    kIncompleteCharactersStart, kIncompleteCharactersEnd, kMissingBytes, kBufferedBytes, kEncodingField, kNumFields, kSize: kNumFields,
  };
}
