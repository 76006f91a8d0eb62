// SPDX-License-Identifier: Apache-2.0
//
// Bare isolates inside the pinned Node.js, to compare ours with: from a snapshot with nothing in it
// but V8's own context, each with that context and one call of a small function in it.
//
//   make(n) → [microseconds each took]      close(): ends them all
#include <node.h>
#include <v8-platform.h>
#include <v8-snapshot.h>

#include <chrono>
#include <memory>
#include <vector>

namespace
{

// V8's tasks for an isolate nobody enters again: kept until its end.
class Delegate final : public node::IsolatePlatformDelegate
{
  public:
    std::shared_ptr<v8::TaskRunner> GetForegroundTaskRunner() override { return runner_; }
    bool IdleTasksEnabled() override { return false; }

  private:
    class Runner final : public v8::TaskRunner
    {
      public:
        bool IdleTasksEnabled() override { return false; }
        bool NonNestableTasksEnabled() const override { return true; }
        bool NonNestableDelayedTasksEnabled() const override { return true; }

      protected:
        void PostTaskImpl(std::unique_ptr<v8::Task>, const v8::SourceLocation &) override {}
        void PostNonNestableTaskImpl(std::unique_ptr<v8::Task>, const v8::SourceLocation &) override
        {
        }
        void PostDelayedTaskImpl(std::unique_ptr<v8::Task>, double,
                                 const v8::SourceLocation &) override
        {
        }
        void PostNonNestableDelayedTaskImpl(std::unique_ptr<v8::Task>, double,
                                            const v8::SourceLocation &) override
        {
        }
    };
    std::shared_ptr<Runner> runner_ = std::make_shared<Runner>();
};

struct Bare {
    v8::Isolate *isolate;
    std::unique_ptr<Delegate> delegate;
    v8::Global<v8::Context> context;
};

node::MultiIsolatePlatform *platform;
v8::ArrayBuffer::Allocator *allocator;
v8::StartupData snapshot;
std::vector<std::unique_ptr<Bare>> all;

v8::Isolate *fresh(Delegate *delegate)
{
    v8::Isolate *isolate = v8::Isolate::Allocate();
    platform->RegisterIsolate(isolate, delegate);
    return isolate;
}

void make_snapshot()
{
    Delegate delegate;
    v8::Isolate *isolate = fresh(&delegate);
    {
        v8::Isolate::CreateParams params;
        params.array_buffer_allocator = allocator;
        v8::SnapshotCreator creator(isolate, params);
        {
            v8::HandleScope scope(isolate);
            creator.SetDefaultContext(v8::Context::New(isolate));
        }
        snapshot = creator.CreateBlob(v8::SnapshotCreator::FunctionCodeHandling::kKeep);
    }
    platform->DisposeIsolate(isolate);
}

void make_one()
{
    auto bare = std::make_unique<Bare>();
    bare->delegate = std::make_unique<Delegate>();
    bare->isolate = fresh(bare->delegate.get());
    v8::Isolate::CreateParams params;
    params.array_buffer_allocator = allocator;
    params.snapshot_blob = &snapshot;
    v8::Isolate::Initialize(bare->isolate, params);
    v8::Isolate *isolate = bare->isolate;
    v8::Locker lock(isolate);
    v8::Isolate::Scope entered(isolate);
    v8::HandleScope scope(isolate);
    v8::Local<v8::Context> context = v8::Context::New(isolate);
    bare->context.Reset(isolate, context);
    v8::Context::Scope in(context);
    v8::Local<v8::String> text = v8::String::NewFromUtf8Literal(isolate, "((x) => x)(1)");
    v8::Script::Compile(context, text).ToLocalChecked()->Run(context).ToLocalChecked();
    all.push_back(std::move(bare));
}

using Info = const v8::FunctionCallbackInfo<v8::Value> &;
using Clock = std::chrono::steady_clock;

void make(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    uint32_t n = info[0].As<v8::Uint32>()->Value();
    v8::Local<v8::Array> delays = v8::Array::New(isolate);
    for (uint32_t i = 0; i < n; i++) {
        Clock::time_point begun = Clock::now();
        make_one();
        double us = std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
        delays->Set(context, i, v8::Number::New(isolate, us)).Check();
    }
    info.GetReturnValue().Set(delays);
}

void close(Info)
{
    for (auto &bare : all) {
        {
            v8::Locker lock(bare->isolate);
            bare->context.Reset();
        }
        platform->DisposeIsolate(bare->isolate);
    }
    all.clear();
}

} // namespace

NODE_MODULE_INIT()
{
    (void)module;
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    platform = node::GetMultiIsolatePlatform(node::GetCurrentEnvironment(context));
    allocator = v8::ArrayBuffer::Allocator::NewDefaultAllocator();
    make_snapshot();
    const struct {
        const char *name;
        v8::FunctionCallback function;
    } functions[] = {{"make", make}, {"close", close}};
    for (auto &f : functions)
        exports
            ->Set(context, v8::String::NewFromUtf8(isolate, f.name).ToLocalChecked(),
                  v8::Function::New(context, f.function).ToLocalChecked())
            .Check();
}
