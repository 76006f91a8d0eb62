// SPDX-License-Identifier: Apache-2.0
//
// The addon's door to Node's JavaScript.
//
//   start(argv, outside) → why it could not start, or undefined: hands Node's loop and platform to
//   the C program. `outside` has
//                          start(job, what, who, net, head, body), more(job) and cancel(job)
//                          (outside/index.cjs)
//   prepare(): what the process does that prepares a module, instead
//   answer(job, last, head, bytes)
#include <node.h>
#include <node_buffer.h>
#include <uv.h>

#include <string>
#include <vector>

#include "node-agent/actor-host/host_main.h"

namespace
{

using Slice = struct isola_slice; // in C++ the function of this name hides the type
using Info = const v8::FunctionCallbackInfo<v8::Value> &;

struct app *app; // once it has started

v8::Local<v8::String> text(v8::Isolate *isolate, Slice s)
{
    return v8::String::NewFromUtf8(isolate, reinterpret_cast<const char *>(s.data),
                                   v8::NewStringType::kNormal, static_cast<int>(s.len))
        .FromMaybe(v8::String::Empty(isolate));
}

// The functions of `outside`, called from the loop.
struct Outside : isola_outside {
    v8::Isolate *isolate;
    v8::Global<v8::Context> context;
    v8::Global<v8::Object> object;

    Outside(v8::Isolate *of, v8::Local<v8::Context> in, v8::Local<v8::Object> functions)
        : isolate(of), context(of, in), object(of, functions)
    {
        start = on_start;
        more = [](void *self, uint64_t job) { static_cast<Outside *>(self)->call("more", job); };
        cancel = [](void *self, uint64_t job) {
            static_cast<Outside *>(self)->call("cancel", job);
        };
        arg = this;
    }

    void call(const char *name, uint64_t job, std::vector<v8::Local<v8::Value>> argv = {})
    {
        v8::HandleScope scope(isolate);
        v8::Context::Scope entered(context.Get(isolate));
        argv.insert(argv.begin(), v8::Number::New(isolate, static_cast<double>(job)));
        // What it throws is a fault of ours: Node ends the process, and says what it was.
        (void)node::MakeCallback(isolate, object.Get(isolate), name, static_cast<int>(argv.size()),
                                 argv.data(), {0, 0});
    }

    static void on_start(void *arg, uint64_t job, Slice what, Slice who, Slice net, Slice head,
                         Slice body)
    {
        auto *self = static_cast<Outside *>(arg);
        v8::HandleScope scope(self->isolate);
        v8::Context::Scope entered(self->context.Get(self->isolate));
        v8::Local<v8::Object> bytes;
        if (!node::Buffer::Copy(self->isolate, reinterpret_cast<const char *>(body.data), body.len)
                 .ToLocal(&bytes))
            return;
        self->call("start", job,
                   {text(self->isolate, what), text(self->isolate, who), text(self->isolate, net),
                    text(self->isolate, head), bytes});
    }
};

void answer(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    if (app == nullptr || !info[0]->IsNumber())
        return;
    std::string head;
    if (info[2]->IsString())
        head = *v8::String::Utf8Value(isolate, info[2]);
    bool bytes = node::Buffer::HasInstance(info[3]);
    isola_actor_host_answer(app, static_cast<uint64_t>(info[0].As<v8::Number>()->Value()),
                            info[1]->IsTrue(), isola_slice(head.data(), head.size()),
                            isola_slice(bytes ? node::Buffer::Data(info[3]) : nullptr,
                                        bytes ? node::Buffer::Length(info[3]) : 0));
}

void start(Info info)
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
    auto *outside = new Outside(isolate, context, info[1].As<v8::Object>()); // as the process lives
    if (isola_actor_host_start(static_cast<int>(args.size()), argv.data(),
                               node::GetCurrentEventLoop(isolate), platform, outside, &app,
                               &err) != 0)
        info.GetReturnValue().Set(v8::String::NewFromUtf8(isolate, err.text).ToLocalChecked());
}

// prepare(): does not return
void prepare(Info info)
{
    v8::Local<v8::Context> context = info.GetIsolate()->GetCurrentContext();
    isola_actor_host_prepare(node::GetMultiIsolatePlatform(node::GetCurrentEnvironment(context)));
}

} // namespace

NODE_MODULE_INIT()
{
    (void)module;
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    const struct {
        const char *name;
        v8::FunctionCallback function;
    } functions[] = {{"start", start}, {"answer", answer}, {"prepare", prepare}};
    for (auto &f : functions)
        exports
            ->Set(context, text(isolate, isola_slice(f.name, strlen(f.name))),
                  v8::Function::New(context, f.function).ToLocalChecked())
            .Check();
}
