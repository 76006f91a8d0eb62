// SPDX-License-Identifier: Apache-2.0
//
// What the addons of tests share: Node.js' strings and functions, and the start of actors/v8 in a
// plain Node.js.
#ifndef ISOLA_TESTS_ADDON_HH
#define ISOLA_TESTS_ADDON_HH

#include <node.h>

#include <initializer_list>
#include <string>

#include "actors/v8/internal.hh"

extern "C" const uint8_t isola_runtime_source[], isola_runtime_source_end[];

namespace addon
{

using Info = const v8::FunctionCallbackInfo<v8::Value> &;

inline v8::Local<v8::String> text(v8::Isolate *isolate, const std::string &s)
{
    return v8::String::NewFromUtf8(isolate, s.data(), v8::NewStringType::kNormal,
                                   static_cast<int>(s.size()))
        .ToLocalChecked();
}

inline void throw_error(v8::Isolate *isolate, const std::string &message)
{
    isolate->ThrowException(v8::Exception::Error(text(isolate, message)));
}

struct Function {
    const char *name;
    v8::FunctionCallback call;
};

inline void provide(v8::Local<v8::Context> context, v8::Local<v8::Object> exports,
                    std::initializer_list<Function> functions)
{
    for (const Function &f : functions)
        exports
            ->Set(context, text(v8::Isolate::GetCurrent(), f.name),
                  v8::Function::New(context, f.call).ToLocalChecked())
            .Check();
}

// Once in a process, before its first isolate. 0, or a code and *err.
inline int start(v8::Local<v8::Context> context, isola_err *err)
{
    return isola_v8_start(
        node::GetMultiIsolatePlatform(node::GetCurrentEnvironment(context)),
        isola_slice(isola_runtime_source,
                    static_cast<size_t>(isola_runtime_source_end - isola_runtime_source)),
        err);
}

// Likewise, with an isolate for values alone: nothing that happens in it is told to anybody.
inline int start_quiet(v8::Local<v8::Context> context, isola_v8 **isolate, isola_err *err)
{
    int rc = start(context, err);
    return rc != 0 ? rc : isola_v8_open(&isola::quiet_ops, nullptr, {}, nullptr, isolate, err);
}

} // namespace addon

#endif
