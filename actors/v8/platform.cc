// SPDX-License-Identifier: Apache-2.0
//
// The process's part of V8: the platform of the Node.js we are loaded into, and the snapshot every
// isolate starts from.
//
// All isolates of a process must come from snapshots over the same read-only heap. The pinned
// Node.js is therefore started with
// --no-node-snapshot, and the snapshot is made here, in process, from V8's built-in one with our
// runtime evaluated in it.
#include "actors/v8/heap.hh"
#include "actors/v8/natives.hh"

#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace isola
{
namespace
{
node::MultiIsolatePlatform *platform;
v8::StartupData snapshot;
v8::ArrayBuffer::Allocator *allocator;

// The runtime's text, which V8 reads where it is: in the program. esbuild writes ASCII.
class RuntimeText final : public v8::String::ExternalOneByteStringResource
{
  public:
    const char *data() const override { return reinterpret_cast<const char *>(text_.data); }
    size_t length() const override { return text_.len; }
    void Dispose() override {}
    void set(Slice text) { text_ = text; }

  private:
    Slice text_{};
} runtime_text;
} // namespace

const intptr_t *platform_references()
{
    return external_references(&runtime_text);
}

// V8 puts a checksum of the read-only heap into a snapshot, and that of the snapshot an isolate
// came from into the code caches it makes, which are good where the two are the same. All processes
// of one program and V8 (isola_v8_key) have the same read-only heap, but it holds addresses, so its
// checksum is another in each. Hence one for all. Where V8's header has changed nothing is written,
// and code caches of other processes are rejected.
void unify_read_only(char *blob, size_t len)
{
    constexpr size_t kChecksumAt = 12, kVersionAt = 16;
    constexpr char kSame[] = "isol";
    const char *version = v8::V8::GetVersion();
    if (len > kVersionAt + strlen(version) + 1 &&
        memcmp(blob + kVersionAt, version, strlen(version) + 1) == 0)
        memcpy(blob + kChecksumAt, kSame, 4);
}

v8::Isolate::CreateParams platform_params()
{
    v8::Isolate::CreateParams params;
    params.array_buffer_allocator = allocator;
    params.snapshot_blob = &snapshot;
    params.external_references = platform_references();
    return params;
}

void register_isolate(v8::Isolate *isolate, Tasks *tasks)
{
    platform->RegisterIsolate(isolate, delegate(tasks));
}

// An isolate takes half a megabyte of malloc's, in pieces; threads other than the first let their
// arena grow piece by piece, each time by a system call. Asked for as much at once, it grows once.
static void make_room()
{
    constexpr size_t kOfIsolate = 544u << 10;
    void *volatile room = malloc(kOfIsolate);
    free(room);
}

v8::Isolate *new_isolate(Tasks *tasks, isola_v8_limits limits, const isola_v8_image *image,
                         std::shared_ptr<v8::ArrayBuffer::Allocator> buffers)
{
    make_room();
    v8::Isolate *isolate = v8::Isolate::Allocate();
    register_isolate(isolate, tasks);
    v8::Isolate::CreateParams params = platform_params();
    params.array_buffer_allocator = nullptr;
    params.array_buffer_allocator_shared = std::move(buffers);
    if (image != nullptr) {
        params.snapshot_blob = image_blob(image);
        params.external_references = image_references(image);
    }
    if (limits.heap != 0)
        params.constraints.ConfigureDefaultsFromHeapSize(0, limits.heap);
    if (limits.young != 0) {
        params.constraints.set_max_young_generation_size_in_bytes(limits.young);
        params.constraints.set_initial_young_generation_size_in_bytes(limits.young);
    }
    v8::Isolate::Initialize(isolate, params);
    return isolate;
}

void dispose_isolate(v8::Isolate *isolate)
{
    platform->DisposeIsolate(isolate);
}

// For the isolates of actors: V8 looks at these flags whenever it makes one. Node.js' own is there.
//
// Holes, values that scripts must never see, lie in memory that all isolates share: V8 takes it
// away from under them with the first isolate, and would do so again with each.
//
// SharedArrayBuffer is what scripts do not get (docs/limits.md): V8 adds it to each new context,
// but for this.
//
// Of WebAssembly V8 would make the part anew in each new context that this is for; it has none
// (withheld.cc).
//
// For each worker that may mark garbage at the same time an isolate has 4 KB: one is enough where
// there are thousands of isolates for few workers.
static void set_flags_for_actors()
{
    for (const char *flag :
         {"--no-unmap-holes", "--enable-sharedarraybuffer-per-context",
          "--no-js-source-phase-imports", "--concurrent-marking-max-worker-num=1"})
        v8::V8::SetFlagsFromString(flag);
}

// Not with --jitless, which must not be given a compiler then. V8 does not tell its flags, but has
// no WebAssembly with that one.
static bool makes_machine_code(v8::Isolate *isolate)
{
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    return context->Global()->Has(context, isola::text(isolate, "WebAssembly")).FromMaybe(true);
}

static bool evaluate(v8::Isolate *isolate, v8::Local<v8::Context> context, std::string *why)
{
    v8::TryCatch caught(isolate);
    v8::ScriptOrigin origin(isola::text(isolate, "isola:runtime"));
    v8::Local<v8::String> text;
    v8::Local<v8::Script> script;
    v8::Local<v8::Value> ignored;
    if (!v8::String::NewExternalOneByte(isolate, &runtime_text).ToLocal(&text))
        return false;
    v8::ScriptCompiler::Source s(text, origin);
    if (v8::ScriptCompiler::Compile(context, &s).ToLocal(&script) &&
        script->Run(context).ToLocal(&ignored))
        return true;
    *why = utf8(isolate, caught.Exception());
    return false;
}

} // namespace isola

using namespace isola;

// Evaluates and boots the runtime; `why` is a std::string.
static bool run_runtime(isola_js *js, void *why)
{
    v8::Isolate *isolate = js->isolate();
    // The runtime takes it away when it has what it needs.
    if (!js->context->Global()
             ->Set(js->context, text(isolate, "__isola_loader"), make_loader(isolate, js->context))
             .FromMaybe(false))
        return false;
    withhold(js);
    return evaluate(isolate, js->context, static_cast<std::string *>(why)) &&
           boot(js, static_cast<std::string *>(why));
}

extern "C" int isola_v8_start(void *node_platform, struct isola_slice runtime,
                              struct isola_err *err)
{
    platform = static_cast<node::MultiIsolatePlatform *>(node_platform);
    // For make_room, and for large messages: it comes from the arena, and a part stays there. To
    // give a message's memory back to the kernel and have it again took a third of its time. V8
    // frees many at once, and less than this was given back with each of its collections.
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
    allocator = v8::ArrayBuffer::Allocator::NewDefaultAllocator();
    bool compiles = true;
    if (v8::Isolate *isolate = v8::Isolate::TryGetCurrent()) {
        v8::HandleScope scope(isolate);
        heap::learn(isolate, isolate->GetCurrentContext());
        compiles = makes_machine_code(isolate);
    }
    runtime_text.set(runtime);
    isola_v8 v{&quiet_ops, nullptr, make_tasks(nullptr, nullptr)};
    v8::Isolate::CreateParams params;
    params.array_buffer_allocator = allocator;
    params.external_references = platform_references();
    std::string why;
    // What the rehearsal made V8 compile to machine code it would compile so at once in every
    // isolate.
    v8::V8::SetFlagsFromString("--no-sparkplug");
    snapshot = make_snapshot(&v, params, run_runtime, &why);
    if (compiles)
        v8::V8::SetFlagsFromString("--sparkplug");
    set_flags_for_actors();
    if (snapshot.data == nullptr)
        return isola_fail(err, ISOLA_ESCRIPT, "there is no snapshot of the runtime: %s",
                          why.empty() ? "V8 has made none" : why.c_str());
    unify_read_only(const_cast<char *>(snapshot.data), static_cast<size_t>(snapshot.raw_size));
    return 0;
}

// FNV-1a: it tells programs apart, and guards against nothing.
static void mix(uint64_t *h, const void *data, size_t len)
{
    const auto *p = static_cast<const uint8_t *>(data);
    for (size_t i = 0; i < len; i++)
        *h = (*h ^ p[i]) * 0x100000001b3u;
}

extern "C" void isola_v8_key(char out[ISOLA_V8_KEY_SIZE])
{
    uint64_t program = 0xcbf29ce484222325u;
    mix(&program, runtime_text.data(), runtime_text.length());
    mix_references(&program, mix);
    snprintf(out, ISOLA_V8_KEY_SIZE, "%s/%08x/%016llx", v8::V8::GetVersion(),
             v8::ScriptCompiler::CachedDataVersionTag(), static_cast<unsigned long long>(program));
}

extern "C" void isola_v8_stop(void)
{
    delete[] snapshot.data;
    snapshot = {nullptr, 0};
    delete allocator;
    allocator = nullptr;
    warm_clear();
}
