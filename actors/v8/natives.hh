// SPDX-License-Identifier: Apache-2.0
//
// Native functions by groups, for the bindings that Node.js' library is given
// (actors/lib/runtime/node/bindings.js). A group is made an object when it is first asked for.
// Their addresses are known to the snapshot, which may therefore hold them.
//
// Scripts can reach some of them (Buffer.prototype.utf8Slice is one): each must be safe with
// whatever it is called with and on.
#pragma once

#include "actors/v8/internal.hh"

namespace isola
{

using Info = const v8::FunctionCallbackInfo<v8::Value> &;

struct Native {
    const char *name;
    v8::FunctionCallback function;
};

struct NativeGroup {
    const char *name;
    const Native *functions;
    size_t count;
};

extern const NativeGroup runtime_natives;  // natives.cc
extern const NativeGroup rare_natives;     // natives.cc
extern const NativeGroup buffer_natives;   // node_buffer.cc
extern const NativeGroup search_natives;   // node_search.cc
extern const NativeGroup util_natives;     // node_util.cc
extern const NativeGroup types_natives;    // node_types.cc
extern const NativeGroup url_natives;      // node_url.cc
extern const NativeGroup crypto_natives;   // node_crypto.cc
extern const NativeGroup zlib_natives;     // node_zlib.cc
extern const NativeGroup icu_natives;      // node_icu.cc
extern const NativeGroup io_natives;       // io.cc
extern const NativeGroup stream_natives;   // streams.cc
extern const NativeGroup schedule_natives; // schedule.cc
extern const NativeGroup storage_natives;  // storage.cc
extern const NativeGroup sql_natives;      // sql.cc

// builtins.cc: every address the snapshot may refer to, ended by 0. Made by the first call, with
// the text of the runtime.
const intptr_t *external_references(v8::String::ExternalOneByteStringResource *runtime);
// Mixes what they are and their order into a hash: an image is good for the same ones.
void mix_references(uint64_t *h, void (*mix)(uint64_t *h, const void *data, size_t len));
// `loader.compile(id)` and `loader.group(name)`, for the time the runtime is evaluated.
v8::Local<v8::Object> make_loader(v8::Isolate *isolate, v8::Local<v8::Context> context);

// withheld.cc: before the runtime is evaluated, and after the loader is made.
void withhold(isola_js *js);

v8::Local<v8::Object> make_group(v8::Isolate *isolate, v8::Local<v8::Context> context,
                                 const NativeGroup &group);

// The bytes of an ArrayBuffer, SharedArrayBuffer or view; `data` is null for anything else. Valid
// while the value is.
struct BytesOf {
    explicit BytesOf(v8::Local<v8::Value> value);
    uint8_t *data = nullptr;
    size_t len = 0;
    bool ok = false;
};

// An argument as an offset: negative and NaN are 0, more than `max` is `max`; undefined is
// `missing`.
size_t offset_of(Info info, int i, size_t missing, size_t max);
void throw_type_error(v8::Isolate *isolate, const char *code, const char *message);

} // namespace isola
