// SPDX-License-Identifier: Apache-2.0
//
// An image: a snapshot of an isolate that has loaded an actor type's module, so that others begin
// with the module evaluated, whatever its size.
//
// Making one: an isolate is made from the platform snapshot, the module is loaded in it under
// watch, and what then lies on its heap is written down. The module runs once for all isolates that
// start from the image, so it must do nothing that is to happen, or may turn out otherwise, in each
// of them: what it sends, logs, sets timers for, and whether it takes random numbers, is noticed
// here or in lib/runtime/watch.js, and there is no image then. The clock it may look at: what it
// keeps is the time at which it was loaded, as it says. (lodash does so while it loads, and has
// no use for what it sees.)
//
// Not all that a script can make can be written down (an Intl formatter cannot), and V8 ends the
// process over it: images are made in processes of their own (isola_v8_prepare), which a script may
// also end by running out of memory or never coming to an end.
//
// An image is good for processes of the same program, V8, flags and hash seed: isola_v8_key names
// them. V8 does not check an image it starts from: whoever keeps one guards its bytes.
#include "actors/v8/code.hh"
#include "actors/v8/natives.hh"

#include <cstring>

#include "base/clock.h"

namespace isola
{
namespace
{

std::vector<intptr_t> references_with(const Code &code)
{
    std::vector<intptr_t> all;
    for (const intptr_t *r = platform_references(); *r != 0; r++)
        all.push_back(*r);
    all.push_back(code.reference());
    all.push_back(0);
    return all;
}

/* --- what a module does while it is watched --- */

isola_v8 *of(void *arg)
{
    return static_cast<isola_v8 *>(arg);
}

int send(void *arg, const isola_v8_send *, uint64_t *id, isola_err *)
{
    touch(of(arg), "it sends messages while it loads");
    *id = 1;
    return 0;
}
uint32_t refer(void *arg, Slice, uint32_t *, isola_err *)
{
    touch(of(arg), "it sends messages while it loads");
    return 1;
}
bool heard(void *arg, uint32_t, Slice)
{
    touch(of(arg), "it emits events while it loads");
    return false;
}
void crash(void *arg, uint32_t, Slice)
{
    touch(of(arg), "it rejects a promise that nobody handles while it loads");
}
void log(void *arg, uint32_t, isola_log_level, Slice)
{
    touch(of(arg), "it writes to the log while it loads");
}
uint64_t timer_set(void *arg, uint32_t, uint64_t, bool)
{
    touch(of(arg), "it sets timers while it loads");
    return 1;
}
int io_start(void *arg, uint32_t, bool, Slice, Slice, Slice, uint64_t *, isola_err *err)
{
    touch(of(arg), "it fetches while it loads");
    return isola_fail(err, ISOLA_EPERM, "nothing can be fetched here");
}
void loaded(void *arg, Slice, Slice error)
{
    of(arg)->loaded = error.len == 0 ? isola_v8::Loaded::Yes : isola_v8::Loaded::Failed;
}

// Of the one module this process prepares.
Slice module_env, module_secrets;

Slice env(void *)
{
    return module_env;
}

Slice secrets(void *)
{
    return module_secrets;
}

// For the module's code: it may need its environment to load.
isola_v8_ops loading_ops()
{
    isola_v8_ops ops = quiet_ops;
    ops.env = env;
    ops.secrets = secrets;
    return ops;
}

isola_v8_ops watching_ops()
{
    isola_v8_ops ops = loading_ops();
    ops.refer = refer;
    ops.send = send;
    ops.heard = heard;
    ops.crash = crash;
    ops.log = log;
    ops.timer_set = timer_set;
    ops.loaded = loaded;
    ops.io_start = io_start;
    return ops;
}

// What stands in for Math.random while the module loads has gone again, unless the module has kept
// it: then it stays, so that it goes on being the same as the global one.
bool unwatch(isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(isolate);
    v8::Global<v8::Function> stand_in;
    {
        v8::HandleScope inner(isolate);
        v8::Local<v8::Value> off = v8::False(isolate), was;
        if (!js->v->hooks[HOOK_WATCH]
                 .Get(isolate)
                 ->Call(js->context, v8::Undefined(isolate), 1, &off)
                 .ToLocal(&was) ||
            !was->IsFunction())
            return false;
        stand_in.Reset(isolate, was.As<v8::Function>());
        stand_in.SetWeak();
    }
    isolate->LowMemoryNotification(); // collects all there is to collect
    if (stand_in.IsEmpty())
        return true;
    v8::Local<v8::Value> argv[] = {stand_in.Get(isolate)};
    return !js->v->hooks[HOOK_WATCH]
                .Get(isolate)
                ->Call(js->context, v8::Undefined(isolate), 1, argv)
                .IsEmpty();
}

using Parts = void (*)(void *arg, isola_v8_part part, Slice bytes);

struct Making {
    Slice type, name, code;
    std::vector<std::string> features; // of an ordinary isolate
    Parts part;
    void *arg;
    bool loads = false; // within its limits
    void say(isola_v8_part p, const char *why) { part(arg, p, isola_slice_str(why)); }
};

// What lib/runtime/watch.js finds in an ordinary isolate.
void survey(Making *m, isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Value> what = v8::Undefined(isolate), found, all, item;
    if (!js->v->hooks[HOOK_WATCH]
             .Get(isolate)
             ->Call(js->context, v8::Undefined(isolate), 1, &what)
             .ToLocal(&found) ||
        !found->IsObject() ||
        !found.As<v8::Object>()->Get(js->context, text(isolate, "all")).ToLocal(&all) ||
        !all->IsArray())
        return;
    for (uint32_t i = 0; i < all.As<v8::Array>()->Length(); i++)
        if (all.As<v8::Array>()->Get(js->context, i).ToLocal(&item))
            m->features.push_back(utf8(isolate, item));
}

bool begin_watching(const Making *m, isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Array> all = v8::Array::New(isolate, static_cast<int>(m->features.size()));
    v8::Local<v8::Value> what = v8::Object::New(isolate);
    for (size_t i = 0; i < m->features.size(); i++)
        if (!all->Set(js->context, static_cast<uint32_t>(i), text(isolate, m->features[i].c_str()))
                 .FromMaybe(false))
            return false;
    return what.As<v8::Object>()->Set(js->context, text(isolate, "all"), all).FromMaybe(false) &&
           !js->v->hooks[HOOK_WATCH]
                .Get(isolate)
                ->Call(js->context, v8::Undefined(isolate), 1, &what)
                .IsEmpty();
}

// V8's code for the module, from an ordinary isolate that has loaded it: an isolate that a snapshot
// is made of gives none.
bool make_cache(Making *m, struct isola_v8_limits limits)
{
    isola_v8 *v;
    isola_err err;
    static const isola_v8_ops ops = loading_ops();
    if (isola_v8_open(&ops, nullptr, limits, nullptr, &v, &err) != 0)
        return false;
    isola_v8_visit(
        v,
        [](isola_js *js, void *arg) {
            auto *making = static_cast<Making *>(arg);
            v8::HandleScope scope(js->isolate());
            survey(making, js);
            v8::Local<v8::Module> module;
            load_module(js, {making->type, making->name, making->code, {}}, &module);
            if (module.IsEmpty() || module->GetStatus() == v8::Module::kErrored)
                return;
            making->loads = true;
            std::unique_ptr<v8::ScriptCompiler::CachedData> cache(
                v8::ScriptCompiler::CreateCodeCache(module->GetUnboundModuleScript()));
            if (cache)
                making->part(making->arg, ISOLA_V8_CODE_CACHE,
                             isola_slice(cache->data, static_cast<size_t>(cache->length)));
        },
        m);
    isola_v8_close(v);
    return m->loads;
}

// Compiles what the module offers as an actor, which each isolate calls first thing: V8 compiles a
// function when it is called, and looks whether scripts are to end before its first step.
void compile_default(isola_js *js, v8::Local<v8::Module> module)
{
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(isolate);
    v8::Local<v8::Value> offered;
    if (!module->GetModuleNamespace()
             .As<v8::Object>()
             ->Get(js->context, text(isolate, "default"))
             .ToLocal(&offered) ||
        !offered->IsFunction() ||
        offered.As<v8::Function>()->ScriptId() == v8::UnboundScript::kNoScriptId)
        return;
    isolate->TerminateExecution();
    (void)offered.As<v8::Function>()
        ->Call(js->context, v8::Undefined(isolate), 0, nullptr)
        .IsEmpty();
    isolate->CancelTerminateExecution();
}

// Loads the module, and says whether an image may be made.
bool load_watched(isola_js *js, void *arg)
{
    auto *m = static_cast<Making *>(arg);
    v8::Isolate *isolate = js->isolate();
    if (!revive(js))
        return false;
    v8::HandleScope scope(isolate);
    if (!begin_watching(m, js)) {
        m->say(ISOLA_V8_NO_IMAGE, "it cannot be watched");
        return false;
    }
    v8::Local<v8::Module> module;
    load_module(js, {m->type, m->name, m->code, {}}, &module);
    const char *why = js->v->touched.empty() ? nullptr : js->v->touched.c_str();
    if (why == nullptr && (module.IsEmpty() || js->v->loaded == isola_v8::Loaded::Failed))
        why = "it cannot be loaded where snapshots are made";
    if (why == nullptr && js->v->loaded != isola_v8::Loaded::Yes)
        why = "it has a top-level await that waits for more than promises";
    if (why == nullptr)
        compile_default(js, module);
    if (why == nullptr && !unwatch(js))
        why = "it has changed what watches it";
    if (why != nullptr)
        m->say(ISOLA_V8_NO_IMAGE, why);
    return why == nullptr;
}

} // namespace

void touch(isola_v8 *v, const char *what)
{
    if (v->making && v->touched.empty())
        v->touched = what;
}

} // namespace isola

using namespace isola;

struct isola_v8_image {
    isola_v8_image(Slice bytes, Slice code)
        : data(new char[bytes.len]), text(code),
          references(references_with(text)), blob{data.get(), static_cast<int>(bytes.len)}
    {
        memcpy(data.get(), bytes.data, bytes.len);
        unify_read_only(data.get(), bytes.len);
    }
    std::unique_ptr<char[]> data;
    Code text;
    std::vector<intptr_t> references;
    v8::StartupData blob;
};

extern "C" {

int isola_v8_image_new(struct isola_slice bytes, struct isola_slice code,
                       struct isola_v8_image **out, struct isola_err *err)
{
    v8::StartupData blob{reinterpret_cast<const char *>(bytes.data), static_cast<int>(bytes.len)};
    if (bytes.len == 0 || bytes.len > INT32_MAX || !blob.IsValid())
        return isola_fail(err, ISOLA_EINVAL, "it is no snapshot of this V8");
    *out = new isola_v8_image(bytes, code);
    return 0;
}

void isola_v8_image_free(struct isola_v8_image *image)
{
    delete image;
}

void isola_v8_prepare(struct isola_slice type, struct isola_slice name, struct isola_slice code,
                      struct isola_slice env, struct isola_slice secrets,
                      struct isola_v8_limits limits, bool image,
                      void (*part)(void *arg, enum isola_v8_part part, struct isola_slice bytes),
                      void *arg)
{
    module_env = env;
    module_secrets = secrets;
    Making m{type, name, code, {}, part, arg};
    if (!make_cache(&m, limits)) {
        m.say(ISOLA_V8_NO_IMAGE, "it does not load within its limits");
        return;
    }
    if (!image)
        return;
    // As in the platform snapshot; and the collection of garbage keeps what is compiled.
    v8::V8::SetFlagsFromString("--no-sparkplug --no-flush-bytecode");
    static const isola_v8_ops ops = watching_ops();
    Code code_of(code);
    std::vector<intptr_t> references = references_with(code_of);
    isola_v8 v{&ops, &v, make_tasks(&ops, &v)};
    v.code = &code_of;
    v8::Isolate::CreateParams params = platform_params();
    params.external_references = references.data();
    v8::StartupData blob = make_snapshot(&v, params, load_watched, &m);
    if (blob.data != nullptr)
        part(arg, ISOLA_V8_IMAGE, isola_slice(blob.data, static_cast<size_t>(blob.raw_size)));
    delete[] blob.data;
}

} // extern "C"

namespace isola
{
const v8::StartupData *image_blob(const isola_v8_image *image)
{
    return &image->blob;
}
const intptr_t *image_references(const isola_v8_image *image)
{
    return image->references.data();
}
} // namespace isola
