// SPDX-License-Identifier: Apache-2.0
//
// internalBinding('zlib'): what Node.js does on other threads is done here and now, in slices, so that a script can be stopped between
// them. Brotli and Zstandard are not there.
import { codeError, group, nextTick } from 'isola:born';

const OK = 0, STREAM_END = 1, NEED_DICT = 2, BUF_ERROR = -5, NO_FLUSH = 0, FINISH = 4;
const NAMES = { __proto__: null, 2: 'Z_NEED_DICT', '-1': 'Z_ERRNO', '-2': 'Z_STREAM_ERROR', '-3': 'Z_DATA_ERROR', '-4': 'Z_MEM_ERROR', '-5': 'Z_BUF_ERROR', '-6': 'Z_VERSION_ERROR' };
const SLICE = 256 << 10; // bytes of input

export function zlibBinding(buffer) {
  const natives = group('zlib');

  class Zlib {
    #mode;
    #stream; // the ArrayBuffer of it
    #status; // of the last write
    #flush;
    #left; // [room in the output, bytes of the input] after it
    #callback;
    #dictionary;
    #strict;
    constructor(mode) { this.#mode = mode; }

    init(windowBits, level, memLevel, strategy, left, callback, dictionary, strict) {
      this.#stream = new ArrayBuffer(natives.size(this.#mode, windowBits, memLevel));
      this.#left = left;
      this.#callback = callback;
      this.#strict = strict;
      this.#dictionary = dictionary === undefined ? undefined : new Uint8Array(dictionary.buffer, dictionary.byteOffset, dictionary.byteLength).slice();
      this.#status = natives.init(this.#stream, this.#mode, windowBits, level, memLevel, strategy, this.#dictionary);
    }

    #write(flush, input, inOffset, inLength, output, outOffset, outLength) {
      this.#flush = flush;
      let [left, room] = [inLength, outLength];
      if (this.#stream === undefined || this.#status < 0 && this.#status !== BUF_ERROR) return;
      for (;;) {
        const n = left < SLICE ? left : SLICE;
        this.#status = natives.write(this.#stream, n === left ? flush : NO_FLUSH, input, inOffset + inLength - left, n, output, outOffset + outLength - room, room,
          this.#left, this.#dictionary, this.#strict);
        const took = n - this.#left[1];
        left -= took;
        room = this.#left[0];
        if (left === 0 || room === 0 || took === 0 || (this.#status !== OK && this.#status !== STREAM_END)) break;
      }
      this.#left[0] = room;
      this.#left[1] = left;
    }

    /** Is all well? Else says what is not. */
    #check() {
      let message;
      if (this.#status === OK || this.#status === BUF_ERROR) {
        if (this.#left[0] === 0 || this.#flush !== FINISH) return true;
        message = 'unexpected end of file';
        this.#status = BUF_ERROR;
      } else if (this.#status === STREAM_END) {
        return true;
      } else {
        message = this.#status !== NEED_DICT ? 'Zlib error' : this.#dictionary === undefined ? 'Missing dictionary' : 'Bad dictionary';
      }
      this.#fail(message);
      return false;
    }

    #fail(message) {
      this.onerror((this.#stream !== undefined && natives.message(this.#stream)) || message, this.#status, NAMES[this.#status]);
    }

    writeSync(...args) {
      this.#write(...args);
      this.#check();
    }

    write(...args) {
      this.#write(...args);
      nextTick(() => { if (this.#check()) this.#callback(); });
    }

    params(level, strategy) {
      this.#status = natives.params(this.#stream, level, strategy);
      if (this.#status !== OK && this.#status !== BUF_ERROR) this.#fail('Failed to set parameters');
    }

    reset() {
      this.#status = natives.reset(this.#stream, this.#dictionary);
      if (this.#status !== OK) this.#fail('Failed to reset stream');
    }

    close() { this.#stream = undefined; }
  }

  const absent = (name) => class { constructor() { throw codeError('ERR_METHOD_NOT_IMPLEMENTED', `isolates do not have ${name}; gzip and deflate are there`); } };
  const [Brotli, Zstandard] = [absent('Brotli'), absent('Zstandard')];
  return {
    Zlib,
    BrotliDecoder: Brotli, BrotliEncoder: Brotli, ZstdCompress: Zstandard, ZstdDecompress: Zstandard,
    crc32: (data, value) => natives.crc32(typeof data === 'string' ? buffer().from(data) : data, value),
  };
}

/** Module internal/zip: archives of files, which isolates have not. */
export function zip() {
  const refuse = () => { throw codeError('ERR_METHOD_NOT_IMPLEMENTED', 'isolates do not have ZIP archives'); };
  const absent = (...names) => {
    const C = class { constructor() { refuse(); } };
    for (const name of names) C[name] = refuse;
    return C;
  };
  return {
    ZipEntry: absent('read', 'create', 'createSync', 'createStream', 'createSymlink'), ZipFile: absent('open', 'openSync'), ZipBuffer: absent(),
    createZipArchive: refuse, createZipArchiveSync: refuse, zipFiles: refuse, getMaxZipContentSize: () => 0, setMaxZipContentSize: refuse,
  };
}
