// SPDX-License-Identifier: Apache-2.0
//
// The codec (actors/v8/encode.cc, decode.cc) and V8's own serializer on the same values, each in an
// isolate of its own, so that neither has the other's garbage, and each called from C++ as often as
// is asked for.
//
//   open(text) → n     evaluates a script that ends with an array of n values
//   encode(k, v8, n), decode(k, v8, n) → { us, bytes }     the k-th value n times; `v8`: by V8's
//
// Ours is used as actors/v8 uses it: an args array with the value in it, written to the isolate's
// scratch buffer, and read from where a message lies, in a block. V8's as its header says: a
// serializer for each message, whose buffer is freed.
#include <v8-value-serializer.h>

#include <chrono>
#include <string>

#include "base/block.h"
#include "tests/isolate/addon.hh"

namespace
{

using Slice = struct isola_slice;
using Clock = std::chrono::steady_clock;
using addon::Info, addon::text;

// Ours, and V8's.
struct Side {
    isola_v8 *isolate = nullptr;
    v8::Global<v8::Array> *values = nullptr;
} sides[2];

struct Job {
    std::string text{};
    uint32_t k = 0, n = 0;
    bool v8 = false, decode = false;
    double us = 0;
    std::string bytes{}, error{};
};

void evaluate(isola_js *js, void *arg)
{
    auto *job = static_cast<Job *>(arg);
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(isolate);
    v8::Local<v8::Script> script;
    v8::Local<v8::Value> value;
    if (v8::Script::Compile(js->context,
                            isola::text(isolate, isola_slice(job->text.data(), job->text.size())))
            .ToLocal(&script) &&
        script->Run(js->context).ToLocal(&value) && value->IsArray()) {
        sides[job->v8].values = new v8::Global<v8::Array>(isolate, value.As<v8::Array>());
        job->n = value.As<v8::Array>()->Length();
    } else {
        job->error = "the script of the values failed";
    }
}

bool encode_ours(isola_js *js, v8::Local<v8::Value> value, std::string *bytes)
{
    isola::Scratch scratch(js);
    if (!isola::encode(js, value, isola::Wrap::ArgsOfOne, scratch.buf()))
        return false;
    if (bytes != nullptr)
        bytes->assign(reinterpret_cast<const char *>(scratch.buf()->data), scratch.buf()->len);
    return true;
}

bool encode_v8(isola_js *js, v8::Local<v8::Value> value, std::string *bytes)
{
    v8::ValueSerializer serializer(js->isolate());
    serializer.WriteHeader();
    if (!serializer.WriteValue(js->context, value).FromMaybe(false))
        return false;
    auto [data, size] = serializer.Release();
    if (bytes != nullptr)
        bytes->assign(reinterpret_cast<const char *>(data), size);
    free(data);
    return true;
}

bool decode_ours(isola_js *js, Slice bytes, isola_block *block)
{
    return !isola::decode_first(js, bytes, block).IsEmpty();
}

bool decode_v8(isola_js *js, Slice bytes, isola_block *)
{
    v8::ValueDeserializer deserializer(js->isolate(), bytes.data, bytes.len);
    return deserializer.ReadHeader(js->context).FromMaybe(false) &&
           !deserializer.ReadValue(js->context).IsEmpty();
}

void measure(isola_js *js, void *arg)
{
    auto *job = static_cast<Job *>(arg);
    v8::HandleScope outer(js->isolate());
    v8::Local<v8::Value> value;
    bool ok = sides[job->v8].values->Get(js->isolate())->Get(js->context, job->k).ToLocal(&value) &&
              (job->v8 ? encode_v8 : encode_ours)(js, value, &job->bytes);
    auto *memory = static_cast<uint8_t *>(malloc(job->bytes.size()));
    isola_block *block = memory != nullptr ? isola_block_new(memory) : nullptr;
    if (block == nullptr) {
        free(memory);
        job->error = "no memory";
        return;
    }
    memcpy(memory, job->bytes.data(), job->bytes.size());
    Slice bytes = isola_slice(memory, job->bytes.size());
    Clock::time_point begun = Clock::now();
    for (uint32_t i = 0; ok && i < job->n; i++) {
        v8::HandleScope scope(js->isolate());
        ok = job->decode ? (job->v8 ? decode_v8 : decode_ours)(js, bytes, block)
                         : (job->v8 ? encode_v8 : encode_ours)(js, value, nullptr);
    }
    job->us = std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
    isola_block_unref(block);
    if (!ok)
        job->error = "a value could not be encoded or decoded";
}

bool visit(Info info, void (*call)(isola_js *, void *), Job *job)
{
    isola_v8_visit(sides[job->v8].isolate, call, job);
    if (job->error.empty())
        return true;
    addon::throw_error(info.GetIsolate(), job->error);
    return false;
}

void open(Info info)
{
    Job job;
    job.text = *v8::String::Utf8Value(info.GetIsolate(), info[0]);
    if (!visit(info, evaluate, &job))
        return;
    job.v8 = true;
    if (visit(info, evaluate, &job))
        info.GetReturnValue().Set(job.n);
}

void run(Info info, bool decode)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    Job job;
    job.k = info[0]->Uint32Value(context).FromMaybe(0);
    job.v8 = info[1]->IsTrue();
    job.n = info[2]->Uint32Value(context).FromMaybe(0);
    job.decode = decode;
    if (!visit(info, measure, &job))
        return;
    v8::Local<v8::Object> result = v8::Object::New(isolate);
    result->Set(context, text(isolate, "us"), v8::Number::New(isolate, job.us)).Check();
    result
        ->Set(context, text(isolate, "bytes"),
              v8::Number::New(isolate, static_cast<double>(job.bytes.size())))
        .Check();
    info.GetReturnValue().Set(result);
}

void encode(Info info)
{
    run(info, false);
}

void decode(Info info)
{
    run(info, true);
}

void close(Info)
{
    for (Side &side : sides) {
        if (side.isolate == nullptr)
            continue;
        isola_v8_visit(
            side.isolate,
            [](isola_js *, void *arg) {
                auto *of = static_cast<Side *>(arg);
                delete of->values;
                of->values = nullptr;
            },
            &side);
        isola_v8_close(side.isolate);
        side.isolate = nullptr;
    }
}

} // namespace

NODE_MODULE_INIT()
{
    (void)module;
    isola_err err{};
    if (addon::start_quiet(context, &sides[0].isolate, &err) != 0 ||
        isola_v8_open(&isola::quiet_ops, nullptr, {}, nullptr, &sides[1].isolate, &err) != 0)
        return addon::throw_error(v8::Isolate::GetCurrent(), err.text);
    addon::provide(context, exports,
                   {{"open", open}, {"encode", encode}, {"decode", decode}, {"close", close}});
}
