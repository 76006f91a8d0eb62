// SPDX-License-Identifier: Apache-2.0
//
// internalBinding('blob'): the bytes of a Blob, kept as one ArrayBuffer that nobody else holds; slices share it.
class Handle {
  constructor(bytes) { this.bytes = bytes; }
  slice(start, end) { return new Handle(this.bytes.subarray(start, end)); }
  getReader() {
    let { bytes } = this;
    return {
      // 1: a chunk; 0: there is no more
      pull(done) {
        if (bytes === undefined || bytes.length === 0) return done(0);
        const chunk = bytes.slice().buffer;
        bytes = undefined;
        return done(1, chunk);
      },
      setWakeup() {},
    };
  }
}

function join(parts) {
  let n = 0;
  for (let i = 0; i < parts.length; i++) n += parts[i].byteLength;
  const all = new Uint8Array(n);
  n = 0;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    all.set(ArrayBuffer.isView(part) ? new Uint8Array(part.buffer, part.byteOffset, part.byteLength) : new Uint8Array(part), n);
    n += part.byteLength;
  }
  return all;
}

export const blobBinding = () => ({
  createBlob: (sources) => new Handle(join(sources.map((s) => (s instanceof Handle ? s.bytes : s)))),
  concat: (buffers) => join(buffers).buffer,
  createBlobFromFilePath: () => undefined,
  storeDataObject() {},
  revokeObjectURL() {},
  getDataObject: () => undefined,
});
