// SPDX-License-Identifier: Apache-2.0
//
// internalBinding('icu') for TextDecoder: the encodings of East Asia by ICU's converters (actors/v8/node_icu.cc), UTF-16 by utf16.js.
import { group, NativeTypeError } from 'isola:born';
import { FATAL, FLUSH, utf16 } from './utf16.js';

const ENCODINGS = ['gb18030', 'big5', 'euc-jp', 'iso-2022-jp', 'shift_jis', 'euc-kr']; // of node_icu.cc, in its order

export function icu(ucs2Slice) {
  const natives = group('icu');
  const wide = utf16(ucs2Slice);
  return {
    getConverter(name, flags) {
      const encoding = ENCODINGS.indexOf(name);
      if (encoding < 0) return wide.getConverter(name, flags);
      const size = natives.size(encoding);
      if (size === undefined) return undefined;
      const decoder = new ArrayBuffer(size);
      return natives.init(decoder, encoding, (flags & FATAL) !== 0) ? { decoder } : undefined;
    },

    decode(converter, input, flags, name) {
      if (converter.decoder === undefined) return wide.decode(converter, input, flags, name);
      const text = natives.decode(converter.decoder, input, (flags & FLUSH) !== 0);
      if (text !== undefined) return text;
      const error = new NativeTypeError(`The encoded data was not valid for encoding ${name}`);
      error.code = 'ERR_ENCODING_INVALID_ENCODED_DATA';
      throw error;
    },
  };
}
