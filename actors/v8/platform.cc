// SPDX-License-Identifier: Apache-2.0
//
// The process's part of V8: the platform of the Node.js we are loaded into, and the snapshot every
// isolate starts from.
//
// All isolates of a process must come from snapshots over the same read-only heap. The pinned
// Node.js is therefore started with
// --no-node-snapshot, and the snapshot is made here, in process, from V8's built-in one with our
// runtime evaluated in it.
#include "actors/v8/internal.hh"

#include <v8-snapshot.h>

#include "base/check.h"

namespace isola
{
namespace
{
node::MultiIsolatePlatform *platform;
v8::StartupData snapshot;
v8::ArrayBuffer::Allocator *allocator;
} // namespace

v8::Isolate *new_isolate(Tasks *tasks, uint64_t heap_limit)
{
    v8::Isolate *isolate = v8::Isolate::Allocate();
    platform->RegisterIsolate(isolate, delegate(tasks));
    v8::Isolate::CreateParams params;
    params.array_buffer_allocator = allocator;
    params.snapshot_blob = &snapshot;
    if (heap_limit != 0)
        params.constraints.ConfigureDefaultsFromHeapSize(0, heap_limit);
    v8::Isolate::Initialize(isolate, params);
    return isolate;
}

void dispose_isolate(v8::Isolate *isolate)
{
    platform->DisposeIsolate(isolate);
}

static bool evaluate(v8::Isolate *isolate, v8::Local<v8::Context> context, Slice source,
                     std::string *why)
{
    v8::TryCatch caught(isolate);
    v8::ScriptOrigin origin(text(isolate, "isola:runtime"));
    v8::ScriptCompiler::Source s(text(isolate, source), origin);
    v8::Local<v8::Script> script;
    v8::Local<v8::Value> ignored;
    if (v8::ScriptCompiler::Compile(context, &s).ToLocal(&script) &&
        script->Run(context).ToLocal(&ignored))
        return true;
    *why = utf8(isolate, caught.Exception());
    return false;
}

} // namespace isola

using namespace isola;

extern "C" int isola_v8_start(void *node_platform, struct isola_slice runtime,
                              struct isola_err *err)
{
    platform = static_cast<node::MultiIsolatePlatform *>(node_platform);
    allocator = v8::ArrayBuffer::Allocator::NewDefaultAllocator();
    auto tasks = make_tasks(nullptr, nullptr);
    v8::Isolate *isolate = v8::Isolate::Allocate();
    platform->RegisterIsolate(isolate, delegate(tasks.get()));
    std::string why;
    bool ok;
    {
        v8::Isolate::CreateParams params;
        params.array_buffer_allocator = allocator;
        v8::SnapshotCreator creator(isolate, params);
        {
            v8::HandleScope scope(isolate);
            v8::Local<v8::Context> context = v8::Context::New(isolate);
            {
                v8::Context::Scope entered(context);
                ok = evaluate(isolate, context, runtime, &why);
            }
            creator.SetDefaultContext(context);
        }
        snapshot = creator.CreateBlob(v8::SnapshotCreator::FunctionCodeHandling::kKeep);
    }
    platform->DisposeIsolate(isolate);
    if (!ok)
        return isola_fail(err, ISOLA_ESCRIPT, "the runtime does not evaluate: %s", why.c_str());
    if (snapshot.data == nullptr)
        return isola_fail(err, ISOLA_ENOMEM, "V8 made no snapshot of the runtime");
    return 0;
}

extern "C" void isola_v8_stop(void)
{
    delete[] snapshot.data;
    snapshot = {nullptr, 0};
    delete allocator;
    allocator = nullptr;
}
