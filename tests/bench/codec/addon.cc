// SPDX-License-Identifier: Apache-2.0
//
// The codec (actors/v8/encode.cc, decode.cc) and V8's own serializer on the same values, in the
// same isolate, each called from C++ as often as is asked for.
//
//   open(text) → n     evaluates a script that ends with an array of n values
//   encode(k, v8, n), decode(k, v8, n) → { us, bytes }     the k-th value n times; `v8`: by V8's
//
// Ours is used as actors/v8 uses it: an args array with the value in it, written to the isolate's
// scratch buffer. V8's as its header says: a serializer for each message, whose buffer is freed.
#include <v8-value-serializer.h>

#include <chrono>
#include <string>

#include "tests/isolate/addon.hh"

namespace
{

using Slice = struct isola_slice;
using Clock = std::chrono::steady_clock;
using addon::Info, addon::text;

isola_v8 *v8_of_values;
v8::Global<v8::Array> *values;

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
        values = new v8::Global<v8::Array>(isolate, value.As<v8::Array>());
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

bool decode_ours(isola_js *js, const std::string &bytes)
{
    return !isola::decode_first(js, isola_slice(bytes.data(), bytes.size())).IsEmpty();
}

bool decode_v8(isola_js *js, const std::string &bytes)
{
    v8::ValueDeserializer deserializer(
        js->isolate(), reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
    return deserializer.ReadHeader(js->context).FromMaybe(false) &&
           !deserializer.ReadValue(js->context).IsEmpty();
}

void measure(isola_js *js, void *arg)
{
    auto *job = static_cast<Job *>(arg);
    v8::HandleScope outer(js->isolate());
    v8::Local<v8::Value> value;
    bool ok = values->Get(js->isolate())->Get(js->context, job->k).ToLocal(&value) &&
              (job->v8 ? encode_v8 : encode_ours)(js, value, &job->bytes);
    Clock::time_point begun = Clock::now();
    for (uint32_t i = 0; ok && i < job->n; i++) {
        v8::HandleScope scope(js->isolate());
        ok = job->decode ? (job->v8 ? decode_v8 : decode_ours)(js, job->bytes)
                         : (job->v8 ? encode_v8 : encode_ours)(js, value, nullptr);
    }
    job->us = std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
    if (!ok)
        job->error = "a value could not be encoded or decoded";
}

bool visit(Info info, void (*call)(isola_js *, void *), Job *job)
{
    isola_v8_visit(v8_of_values, call, job);
    if (job->error.empty())
        return true;
    addon::throw_error(info.GetIsolate(), job->error);
    return false;
}

void open(Info info)
{
    Job job;
    job.text = *v8::String::Utf8Value(info.GetIsolate(), info[0]);
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
    if (v8_of_values == nullptr)
        return;
    isola_v8_visit(
        v8_of_values,
        [](isola_js *, void *) {
            delete values;
            values = nullptr;
        },
        nullptr);
    isola_v8_close(v8_of_values);
    v8_of_values = nullptr;
}

} // namespace

NODE_MODULE_INIT()
{
    (void)module;
    isola_err err{};
    if (addon::start_quiet(context, &v8_of_values, &err) != 0)
        return addon::throw_error(v8::Isolate::GetCurrent(), err.text);
    addon::provide(context, exports,
                   {{"open", open}, {"encode", encode}, {"decode", decode}, {"close", close}});
}
