// SPDX-License-Identifier: Apache-2.0
//
// Compiling the files of Node.js' library, and the native functions they are bound to.
//
// The text lies in the program, outside of V8's heaps. The first isolate to compile a file leaves
// V8's code cache of it for the others of the process; one that V8 rejects is not offered again.
#include "actors/v8/builtins.h"

#include <cstring>
#include <memory>
#include <mutex>

#include "actors/v8/natives.hh"
#include "base/check.h"

namespace isola
{
namespace
{

// A builtin's text for V8, with what is kept of it.
class Text final : public v8::String::ExternalOneByteStringResource
{
  public:
    explicit Text(const isola_builtin *b) : builtin(b) {}
    const char *data() const override { return builtin->text; }
    size_t length() const override { return builtin->len; }
    void Dispose() override {} // lives as long as the process

    const isola_builtin *const builtin;
    std::mutex mutex;
    std::shared_ptr<v8::ScriptCompiler::CachedData> cache; // under the mutex
    bool tried = false;
};

const NativeGroup *const groups[] = {
    &buffer_natives, &search_natives, &util_natives,   &types_natives,    &url_natives,
    &crypto_natives, &io_natives,     &stream_natives, &schedule_natives, &storage_natives,
    &zlib_natives,   &icu_natives,    &rare_natives,   &sql_natives};

const std::vector<std::unique_ptr<Text>> &texts()
{
    static const auto *all = [] {
        auto *made = new std::vector<std::unique_ptr<Text>>;
        for (size_t i = 0; i < isola_builtins_count; i++)
            made->push_back(std::make_unique<Text>(&isola_builtins[i]));
        return made;
    }();
    return *all;
}

Text *find_text(const std::string &id)
{
    const auto &all = texts();
    auto at =
        std::lower_bound(all.begin(), all.end(), id, [](const auto &t, const std::string &name) {
            return t->builtin->id < name;
        });
    return at != all.end() && (*at)->builtin->id == id ? at->get() : nullptr;
}

v8::MaybeLocal<v8::Function> compile_text(v8::Local<v8::Context> context, Text *t, bool per_context)
{
    static const char *const names[2][6] = {
        {"exports", "require", "module", "process", "internalBinding", "primordials"},
        {"exports", "primordials", "privateSymbols", "perIsolateSymbols", nullptr, nullptr}};
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    std::vector<v8::Local<v8::String>> parameters;
    for (const char *name : names[per_context])
        if (name != nullptr)
            parameters.push_back(text(isolate, name));
    v8::Local<v8::String> source;
    if (!v8::String::NewExternalOneByte(isolate, t).ToLocal(&source))
        return {};
    std::shared_ptr<v8::ScriptCompiler::CachedData> cached;
    {
        std::lock_guard<std::mutex> hold(t->mutex);
        cached = t->cache;
    }
    // Frames of our own are not shown in stacks (stacks.cc).
    bool ours = strncmp(t->builtin->id, "isola/", 6) == 0;
    std::string name = ours ? "isola:runtime" : std::string("node:") + t->builtin->id;
    v8::ScriptOrigin origin(text(isolate, name.c_str()));
    // Source deletes its CachedData: it gets one of its own over the same bytes.
    v8::ScriptCompiler::Source s(
        source, origin,
        cached ? new v8::ScriptCompiler::CachedData(cached->data, cached->length,
                                                    v8::ScriptCompiler::CachedData::BufferNotOwned)
               : nullptr);
    return v8::ScriptCompiler::CompileFunction(
        context, &s, parameters.size(), parameters.data(), 0, nullptr,
        cached ? v8::ScriptCompiler::kConsumeCodeCache : v8::ScriptCompiler::kNoCompileOptions);
}

// compile(id, is it one of internal/per_context) → function
void compile(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    std::string id = utf8(isolate, info[0]);
    Text *t = find_text(id);
    v8::Local<v8::Function> f;
    if (t == nullptr) {
        isolate->ThrowException(make_error(isolate, "MODULE_NOT_FOUND",
                                           ("\"" + id + "\" does not exist in isolates").c_str()));
    } else if (compile_text(isolate->GetCurrentContext(), t, info[1]->IsTrue()).ToLocal(&f)) {
        info.GetReturnValue().Set(f);
    }
}

// compiled(id, function): it has run, so what it needs to start is compiled: a good moment to keep
// the code.
void compiled(Info info)
{
    Text *t = find_text(utf8(info.GetIsolate(), info[0]));
    if (t == nullptr || !info[1]->IsFunction() || from(info.GetIsolate()) == nullptr ||
        from(info.GetIsolate())->making)
        return;
    {
        std::lock_guard<std::mutex> hold(t->mutex);
        if (t->tried)
            return;
        t->tried = true;
    }
    std::shared_ptr<v8::ScriptCompiler::CachedData> made(
        v8::ScriptCompiler::CreateCodeCacheForFunction(info[1].As<v8::Function>()));
    std::lock_guard<std::mutex> hold(t->mutex);
    t->cache = made;
}

v8::Local<v8::Object> make_functions(v8::Isolate *isolate, v8::Local<v8::Context> context,
                                     const Native *functions, size_t count)
{
    v8::Local<v8::Object> object = v8::Object::New(isolate);
    for (size_t i = 0; i < count; i++) {
        v8::Local<v8::Function> f;
        if (!v8::Function::New(context, functions[i].function, {}, 0,
                               v8::ConstructorBehavior::kThrow)
                 .ToLocal(&f))
            break;
        v8::Local<v8::String> name = text(isolate, functions[i].name);
        f->SetName(name);
        if (!object->CreateDataProperty(context, name, f).FromMaybe(false))
            break;
    }
    return object;
}

// group(name) → object of native functions
void group(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    std::string name = utf8(isolate, info[0]);
    for (const NativeGroup *g : groups)
        if (name == g->name)
            info.GetReturnValue().Set(
                make_functions(isolate, isolate->GetCurrentContext(), g->functions, g->count));
}

const Native loader[] = {{"compile", compile}, {"compiled", compiled}, {"group", group}};

} // namespace

const intptr_t *external_references(v8::String::ExternalOneByteStringResource *runtime)
{
    static const auto *all = [runtime] {
        auto *made = new std::vector<intptr_t>;
        for (const Native &n : loader)
            made->push_back(reinterpret_cast<intptr_t>(n.function));
        for (const NativeGroup *g : groups)
            for (size_t i = 0; i < g->count; i++)
                made->push_back(reinterpret_cast<intptr_t>(g->functions[i].function));
        for (const auto &t : texts())
            made->push_back(reinterpret_cast<intptr_t>(t.get()));
        for (size_t i = 0; i < runtime_natives.count; i++)
            made->push_back(reinterpret_cast<intptr_t>(runtime_natives.functions[i].function));
        add_module_references(made);
        add_birth_references(made);
        add_util_references(made);
        made->push_back(reinterpret_cast<intptr_t>(runtime));
        made->push_back(0);
        return made;
    }();
    return all->data();
}

void mix_references(uint64_t *h, void (*mix)(uint64_t *h, const void *data, size_t len))
{
    auto name = [=](const char *s) { mix(h, s, strlen(s) + 1); };
    for (const Native &n : loader)
        name(n.name);
    for (const NativeGroup *g : groups)
        for (size_t i = 0; i < g->count; i++)
            name(g->functions[i].name);
    for (size_t i = 0; i < runtime_natives.count; i++)
        name(runtime_natives.functions[i].name);
    name("secret");
    for (const auto &t : texts()) {
        name(t->builtin->id);
        mix(h, t->builtin->text, t->builtin->len);
    }
}

v8::Local<v8::Object> make_loader(v8::Isolate *isolate, v8::Local<v8::Context> context)
{
    v8::Local<v8::Object> all =
        make_functions(isolate, context, loader, sizeof(loader) / sizeof(loader[0]));
    // The frame (lib/runtime/actor.js): V8's optimizer knows these two.
    static const char *const own[][2] = {{"frame", "getContinuationPreservedEmbedderData"},
                                         {"setFrame", "setContinuationPreservedEmbedderData"}};
    v8::Local<v8::Object> extras = context->GetExtrasBindingObject();
    for (const auto &name : own) {
        v8::Local<v8::Value> f;
        if (!extras->Get(context, text(isolate, name[1])).ToLocal(&f) || !f->IsFunction() ||
            !all->CreateDataProperty(context, text(isolate, name[0]), f).FromMaybe(false))
            return {};
    }
    return all;
}

v8::Local<v8::Object> make_group(v8::Isolate *isolate, v8::Local<v8::Context> context,
                                 const NativeGroup &group)
{
    return make_functions(isolate, context, group.functions, group.count);
}

BytesOf::BytesOf(v8::Local<v8::Value> value)
{
    if (value->IsArrayBufferView()) {
        auto view = value.As<v8::ArrayBufferView>();
        len = view->ByteLength();
        data = len == 0 ? nullptr
                        : static_cast<uint8_t *>(view->Buffer()->Data()) + view->ByteOffset();
        ok = true;
    } else if (value->IsArrayBuffer()) {
        auto buffer = value.As<v8::ArrayBuffer>();
        data = static_cast<uint8_t *>(buffer->Data());
        len = buffer->ByteLength();
        ok = true;
    } else if (value->IsSharedArrayBuffer()) {
        auto buffer = value.As<v8::SharedArrayBuffer>();
        data = static_cast<uint8_t *>(buffer->Data());
        len = buffer->ByteLength();
        ok = true;
    }
}

size_t offset_of(Info info, int i, size_t missing, size_t max)
{
    double d = 0;
    if (info[i]->IsUndefined())
        return missing;
    if (info[i]->IsNumber())
        d = info[i].As<v8::Number>()->Value();
    if (!(d > 0))
        return 0;
    return d >= static_cast<double>(max) ? max : static_cast<size_t>(d);
}

void throw_type_error(v8::Isolate *isolate, const char *code, const char *message)
{
    v8::Local<v8::Value> error = v8::Exception::TypeError(text(isolate, message));
    error.As<v8::Object>()
        ->CreateDataProperty(isolate->GetCurrentContext(), text(isolate, "code"),
                             text(isolate, code))
        .Check();
    isolate->ThrowException(error);
}

} // namespace isola
