// SPDX-License-Identifier: Apache-2.0
//
// UTF-16 for TextDecoder (multibyte.js has the rest of internalBinding('icu')).
import { apply, NativeTypeError } from 'isola:born';
export const FLUSH = 1, FATAL = 2; // lib/internal/encoding.js
const IGNORE_BOM = 4;
const { isWellFormed, toWellFormed, slice } = String.prototype;

export const utf16 = (ucs2Slice) => ({
  getConverter: (name, flags) => (name === 'utf-16le' || name === 'utf-16be' ? { big: name === 'utf-16be', flags, rest: new Uint8Array(0), begun: false } : undefined),

  decode(converter, input, flags, name) {
    const view = ArrayBuffer.isView(input) ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength) : new Uint8Array(input);
    const flush = (flags & FLUSH) !== 0;
    const bytes = new Uint8Array(converter.rest.length + view.length);
    bytes.set(converter.rest);
    bytes.set(view, converter.rest.length);
    let whole = bytes.length - (bytes.length % 2);
    if (converter.big)
      for (let i = 0; i < whole; i += 2) { const b = bytes[i]; bytes[i] = bytes[i + 1]; bytes[i + 1] = b; }
    if (whole > 0 && (bytes[whole - 1] & 0xfc) === 0xd8) whole -= 2; // the first half of a pair
    const torn = flush && whole < bytes.length;
    let text = ucs2Slice(bytes, 0, whole);
    // The rest is kept as it came.
    converter.rest = flush ? new Uint8Array(0) : bytes.slice(whole);
    if (!flush && converter.big && converter.rest.length >= 2) { const [a, b] = [converter.rest[0], converter.rest[1]]; converter.rest[0] = b; converter.rest[1] = a; }
    if ((converter.flags & FATAL) !== 0 && (torn || !apply(isWellFormed, text, []))) {
      converter.rest = new Uint8Array(0);
      converter.begun = false;
      const error = new NativeTypeError(`The encoded data was not valid for encoding ${name}`);
      error.code = 'ERR_ENCODING_INVALID_ENCODED_DATA';
      throw error;
    }
    text = apply(toWellFormed, text, []) + (torn ? '\ufffd' : '');
    if (!converter.begun && text !== '') {
      converter.begun = true;
      if ((converter.flags & IGNORE_BOM) === 0 && text[0] === '\ufeff') text = apply(slice, text, [1]);
    }
    if (flush) converter.begun = false;
    return text;
  },
});
