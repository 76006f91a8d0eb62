// SPDX-License-Identifier: Apache-2.0
//
// The addon's door: start(argv) hands Node's loop and platform to the C program and returns why it
// could not start, if so.
#include <node.h>
#include <uv.h>

#include <string>
#include <vector>

#include "node-agent/actor-host/host_main.h"

static void start(const v8::FunctionCallbackInfo<v8::Value> &info)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    std::vector<std::string> args{"actor-host"};
    if (info[0]->IsArray()) {
        auto list = info[0].As<v8::Array>();
        for (uint32_t i = 0; i < list->Length(); i++) {
            v8::Local<v8::Value> item;
            if (list->Get(context, i).ToLocal(&item))
                args.emplace_back(*v8::String::Utf8Value(isolate, item));
        }
    }
    std::vector<char *> argv;
    for (auto &arg : args)
        argv.push_back(arg.data());
    argv.push_back(nullptr);
    void *platform = node::GetMultiIsolatePlatform(node::GetCurrentEnvironment(context));
    isola_err err{};
    if (isola_actor_host_start(static_cast<int>(args.size()), argv.data(),
                               node::GetCurrentEventLoop(isolate), platform, &err) != 0)
        info.GetReturnValue().Set(v8::String::NewFromUtf8(isolate, err.text).ToLocalChecked());
}

NODE_MODULE_INIT()
{
    (void)module;
    exports
        ->Set(context, v8::String::NewFromUtf8Literal(v8::Isolate::GetCurrent(), "start"),
              v8::Function::New(context, start).ToLocalChecked())
        .Check();
}
