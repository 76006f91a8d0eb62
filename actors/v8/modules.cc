// SPDX-License-Identifier: Apache-2.0
//
// Loading an actor type's bundle: one ES module, which may import "isola" and those of Node.js'
// modules that isolates have (actors/lib/runtime/node/modules.js).
#include "actors/v8/internal.hh"

namespace isola
{
namespace
{

// What `specifier` names, made now if it is a module of Node.js' that no script has asked for yet.
// Empty: thrown.
v8::MaybeLocal<v8::Module> builtin(isola_js *js, const std::string &specifier)
{
    v8::Isolate *isolate = js->isolate();
    auto &builtins = js->v->builtins;
    std::string name = specifier.rfind("node:", 0) == 0 ? specifier.substr(5) : specifier;
    auto at = builtins.find(name);
    if (at == builtins.end()) {
        v8::Local<v8::Value> argv[] = {text(isolate, isola_slice(name.data(), name.size()))},
                             exports;
        if (!js->v->hooks[HOOK_BUILTIN]
                 .Get(isolate)
                 ->Call(js->context, v8::Undefined(isolate), 1, argv)
                 .ToLocal(&exports))
            return {};
        if (!exports->IsObject()) {
            std::string why = "cannot find module \"" + specifier + "\" in an isolate";
            isolate->ThrowException(make_error(isolate, "EMODULE", why.c_str()));
            return {};
        }
        if (!add_builtin(js, name, exports.As<v8::Object>()))
            return {};
        at = builtins.find(name);
    }
    return at->second.module.Get(isolate);
}

v8::MaybeLocal<v8::Module> resolve(v8::Local<v8::Context> context, v8::Local<v8::String> specifier,
                                   v8::Local<v8::FixedArray>, v8::Local<v8::Module>)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    isola_js js{from(isolate), context};
    return builtin(&js, utf8(isolate, specifier));
}

v8::MaybeLocal<v8::Promise> import_dynamically(v8::Local<v8::Context> context, v8::Local<v8::Data>,
                                               v8::Local<v8::Value>,
                                               v8::Local<v8::String> specifier,
                                               v8::Local<v8::FixedArray>)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    isola_js js{from(isolate), context};
    v8::Local<v8::Promise::Resolver> resolver;
    if (!v8::Promise::Resolver::New(context).ToLocal(&resolver))
        return {};
    v8::TryCatch caught(isolate);
    v8::Local<v8::Module> module;
    if (builtin(&js, utf8(isolate, specifier)).ToLocal(&module)) {
        (void)resolver->Resolve(context, module->GetModuleNamespace()).FromMaybe(false);
    } else if (caught.HasTerminated()) {
        caught.ReThrow();
        return {};
    } else {
        (void)resolver->Reject(context, caught.Exception()).FromMaybe(false);
    }
    return resolver->GetPromise();
}

void import_meta(v8::Local<v8::Context> context, v8::Local<v8::Module>, v8::Local<v8::Object> meta)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    (void)meta->CreateDataProperty(context, text(isolate, "url"), text(isolate, "isola:app"))
        .FromMaybe(false);
}

// The names a module of `exports` has beside "default": its own enumerable properties.
v8::MaybeLocal<v8::Array> names_of(v8::Local<v8::Context> context, v8::Local<v8::Object> exports)
{
    return exports->GetOwnPropertyNames(
        context, static_cast<v8::PropertyFilter>(v8::ONLY_ENUMERABLE | v8::SKIP_SYMBOLS),
        v8::KeyConversionMode::kConvertToString);
}

v8::MaybeLocal<v8::Value> fill_builtin(v8::Local<v8::Context> context, v8::Local<v8::Module> module)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    v8::Local<v8::Object> exports;
    for (auto &[name, b] : from(isolate)->builtins)
        if (b.module == module)
            exports = b.exports.Get(isolate);
    v8::Local<v8::Array> names;
    if (exports.IsEmpty() || !names_of(context, exports).ToLocal(&names))
        return {};
    v8::Local<v8::String> default_name = text(isolate, "default");
    for (uint32_t i = 0; i < names->Length(); i++) {
        v8::Local<v8::Value> name, value;
        if (!names->Get(context, i).ToLocal(&name) ||
            !exports->Get(context, name).ToLocal(&value) ||
            (!name->StrictEquals(default_name) &&
             module->SetSyntheticModuleExport(isolate, name.As<v8::String>(), value).IsNothing()))
            return {};
    }
    if (module->SetSyntheticModuleExport(isolate, default_name, exports).IsNothing())
        return {};
    return v8::Undefined(isolate).As<v8::Value>();
}

void report(isola_js *js, v8::Local<v8::Value> type, v8::Local<v8::Value> error)
{
    if (ending(js->v)) // whoever ends it has more to say
        return;
    std::string name = utf8(js->isolate(), type);
    isola_buf failure{};
    if (!error.IsEmpty())
        encode_error(js, error, &failure);
    js->v->ops->loaded(js->v->arg, isola_slice(name.data(), name.size()),
                       isola_buf_slice(&failure));
    isola_buf_free(&failure);
}

// The module has run: hand its exports to the runtime. data: [type, module namespace]
void evaluated(const v8::FunctionCallbackInfo<v8::Value> &info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_js js{from(isolate), isolate->GetCurrentContext()};
    v8::Local<v8::Value> argv[2], ignored;
    auto data = info.Data().As<v8::Array>();
    for (uint32_t i = 0; i < 2; i++)
        if (!data->Get(js.context, i).ToLocal(&argv[i]))
            return;
    v8::TryCatch caught(isolate);
    bool ok = js.v->hooks[HOOK_LOAD]
                  .Get(isolate)
                  ->Call(js.context, v8::Undefined(isolate), 2, argv)
                  .ToLocal(&ignored);
    report(&js, argv[0], ok ? v8::Local<v8::Value>() : caught.Exception());
}

void threw(const v8::FunctionCallbackInfo<v8::Value> &info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_js js{from(isolate), isolate->GetCurrentContext()};
    v8::Local<v8::Value> type;
    if (info.Data().As<v8::Array>()->Get(js.context, 0).ToLocal(&type))
        report(&js, type, info[0]);
}

// An exception of the parser says where only in its message.
v8::Local<v8::Value> located(isola_js *js, const v8::TryCatch &caught, const std::string &name)
{
    v8::Local<v8::Value> error = caught.Exception();
    v8::Local<v8::Message> message = caught.Message();
    if (ending(js->v))
        return error;
    if (error.IsEmpty() || message.IsEmpty())
        return make_error(js->isolate(), "EMODULE", "it was stopped while loading");
    int line = message->GetLineNumber(js->context).FromMaybe(0);
    std::string why = name + ":" + std::to_string(line) + ":" +
                      std::to_string(message->GetStartColumn(js->context).FromMaybe(0) + 1) + ": " +
                      utf8(js->isolate(), error);
    return make_error(js->isolate(), "EMODULE", placed(js, why).c_str());
}

std::string message_of(isola_js *js, v8::Local<v8::Value> error)
{
    v8::Local<v8::Value> message;
    if (error->IsNativeError() &&
        error.As<v8::Object>()->Get(js->context, text(js->isolate(), "message")).ToLocal(&message))
        return utf8(js->isolate(), message, kSaidMax);
    return utf8(js->isolate(), error, kSaidMax);
}

} // namespace

void set_module_callbacks(v8::Isolate *isolate)
{
    isolate->SetHostImportModuleDynamicallyCallback(import_dynamically);
    isolate->SetHostInitializeImportMetaObjectCallback(import_meta);
}

void add_module_references(std::vector<intptr_t> *to)
{
    to->push_back(reinterpret_cast<intptr_t>(fill_builtin));
    to->push_back(reinterpret_cast<intptr_t>(evaluated));
    to->push_back(reinterpret_cast<intptr_t>(threw));
}

bool add_builtin(isola_js *js, const std::string &name, v8::Local<v8::Object> exports)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Array> properties;
    if (!names_of(js->context, exports).ToLocal(&properties))
        return false;
    std::vector<v8::Local<v8::String>> names{text(isolate, "default")};
    for (uint32_t i = 0; i < properties->Length(); i++) {
        v8::Local<v8::Value> property;
        if (!properties->Get(js->context, i).ToLocal(&property))
            return false;
        if (!property->StrictEquals(names[0]))
            names.push_back(property.As<v8::String>());
    }
    v8::Local<v8::Module> module = v8::Module::CreateSyntheticModule(
        isolate, text(isolate, isola_slice(name.data(), name.size())),
        v8::MemorySpan<const v8::Local<v8::String>>(names.data(), names.size()), fill_builtin);
    isola_v8::Builtin &b = js->v->builtins[name];
    b.module.Reset(isolate, module);
    b.exports.Reset(isolate, exports);
    v8::Local<v8::Value> ignored;
    if (module->InstantiateModule(js->context, resolve).FromMaybe(false) &&
        module->Evaluate(js->context).ToLocal(&ignored) &&
        module->GetStatus() == v8::Module::kEvaluated)
        return true;
    js->v->builtins.erase(name);
    return false;
}

// Makes the modules that `module` imports, ahead of the time when V8 asks for them. False: one of
// them is not to be had, as *error says with the place of the import; or (*error empty) thrown.
static bool prepare_imports(isola_js *js, v8::Local<v8::Module> module, const std::string &file,
                            v8::Local<v8::Value> *error)
{
    v8::Local<v8::FixedArray> requests = module->GetModuleRequests();
    for (int i = 0; i < requests->Length(); i++) {
        auto request = requests->Get(i).As<v8::ModuleRequest>();
        v8::TryCatch caught(js->isolate());
        if (!builtin(js, utf8(js->isolate(), request->GetSpecifier())).IsEmpty())
            continue;
        if (caught.HasTerminated())
            return caught.ReThrow(), false;
        v8::Location at = module->SourceOffsetToLocation(request->GetSourceOffset());
        std::string why = file + ":" + std::to_string(at.GetLineNumber() + 1) + ":" +
                          std::to_string(at.GetColumnNumber() + 1) + ": " +
                          message_of(js, caught.Exception());
        *error = make_error(js->isolate(), "EMODULE", placed(js, why).c_str());
        return false;
    }
    return true;
}

bool load_module(isola_js *js, const ModuleText &m, v8::Local<v8::Module> *module)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Value> type = text(isolate, m.type);
    std::string file(reinterpret_cast<const char *>(m.name.data), m.name.len);
    bool cached = m.cache.len > 0;
    {
        v8::TryCatch caught(isolate);
        v8::ScriptOrigin origin(text(isolate, m.name), 0, 0, false, -1, v8::Local<v8::Value>(),
                                false, false, true);
        // Source deletes it.
        auto *cache =
            cached
                ? new v8::ScriptCompiler::CachedData(m.cache.data, static_cast<int>(m.cache.len),
                                                     v8::ScriptCompiler::CachedData::BufferNotOwned)
                : nullptr;
        v8::ScriptCompiler::Source source(code_text(js, m.code), origin, cache);
        v8::Local<v8::Value> result, missing;
        bool compiled =
            v8::ScriptCompiler::CompileModule(isolate, &source,
                                              cached ? v8::ScriptCompiler::kConsumeCodeCache
                                                     : v8::ScriptCompiler::kNoCompileOptions)
                .ToLocal(module);
        cached = cached && !cache->rejected;
        if (compiled && !prepare_imports(js, *module, file, &missing)) {
            report(js, type, missing.IsEmpty() ? located(js, caught, file) : missing);
        } else if (!compiled ||
                   !(*module)->InstantiateModule(js->context, resolve).FromMaybe(false) ||
                   !(*module)->Evaluate(js->context).ToLocal(&result)) {
            report(js, type, located(js, caught, file));
        } else {
            v8::Local<v8::Value> parts[] = {type, (*module)->GetModuleNamespace()};
            auto data = v8::Array::New(isolate, parts, 2);
            v8::Local<v8::Function> ok, bad;
            v8::Local<v8::Promise> ignored;
            if (!v8::Function::New(js->context, evaluated, data).ToLocal(&ok) ||
                !v8::Function::New(js->context, threw, data).ToLocal(&bad) ||
                !result.As<v8::Promise>()->Then(js->context, ok, bad).ToLocal(&ignored))
                report(js, type, located(js, caught, file));
        }
    }
    after_entry(js);
    return cached;
}

} // namespace isola

using namespace isola;

extern "C" bool isola_js_load(struct isola_js *js, struct isola_slice type, struct isola_slice code,
                              struct isola_slice name, struct isola_slice cache)
{
    Entry in(js, 0, 0);
    if (!in)
        return false;
    v8::HandleScope scope(js->isolate());
    v8::Local<v8::Module> module;
    return load_module(js, {type, name, code, cache}, &module);
}
