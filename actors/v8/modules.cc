// SPDX-License-Identifier: Apache-2.0
//
// Loading an actor type's bundle: one ES module, which may import nothing but "isola".
#include "actors/v8/internal.hh"

namespace isola
{
namespace
{

v8::MaybeLocal<v8::Module> resolve(v8::Local<v8::Context> context, v8::Local<v8::String> specifier,
                                   v8::Local<v8::FixedArray>, v8::Local<v8::Module>)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    std::string name = utf8(isolate, specifier);
    if (name == "isola")
        return from(isolate)->isola_module.Get(isolate);
    std::string why = "cannot find module \"" + name + "\" in an isolate";
    isolate->ThrowException(make_error(isolate, "EMODULE", why.c_str()));
    (void)context;
    return {};
}

v8::MaybeLocal<v8::Promise> import_dynamically(v8::Local<v8::Context> context, v8::Local<v8::Data>,
                                               v8::Local<v8::Value>,
                                               v8::Local<v8::String> specifier,
                                               v8::Local<v8::FixedArray>)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    v8::Local<v8::Promise::Resolver> resolver;
    if (!v8::Promise::Resolver::New(context).ToLocal(&resolver))
        return {};
    std::string name = utf8(isolate, specifier);
    if (name == "isola") {
        resolver->Resolve(context, from(isolate)->isola_module.Get(isolate)->GetModuleNamespace())
            .Check();
    } else {
        std::string why = "cannot find module \"" + name + "\" in an isolate";
        resolver->Reject(context, make_error(isolate, "EMODULE", why.c_str())).Check();
    }
    return resolver->GetPromise();
}

void import_meta(v8::Local<v8::Context> context, v8::Local<v8::Module>, v8::Local<v8::Object> meta)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    meta->CreateDataProperty(context, text(isolate, "url"), text(isolate, "isola:app")).Check();
}

v8::MaybeLocal<v8::Value> fill_isola_module(v8::Local<v8::Context> context,
                                            v8::Local<v8::Module> module)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    v8::Local<v8::Object> exports = from(isolate)->isola_exports.Get(isolate);
    v8::Local<v8::Array> names;
    if (!exports->GetOwnPropertyNames(context).ToLocal(&names))
        return {};
    for (uint32_t i = 0; i < names->Length(); i++) {
        v8::Local<v8::Value> name, value;
        if (!names->Get(context, i).ToLocal(&name) ||
            !exports->Get(context, name).ToLocal(&value) ||
            module->SetSyntheticModuleExport(isolate, name.As<v8::String>(), value).IsNothing())
            return {};
    }
    if (module->SetSyntheticModuleExport(isolate, text(isolate, "default"), exports).IsNothing())
        return {};
    return v8::Undefined(isolate).As<v8::Value>();
}

void report(isola_js *js, v8::Local<v8::Value> type, v8::Local<v8::Value> error)
{
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
    if (error.IsEmpty() || message.IsEmpty())
        return make_error(js->isolate(), "EMODULE", "it was stopped while loading");
    int line = message->GetLineNumber(js->context).FromMaybe(0);
    std::string why = name + ":" + std::to_string(line) + ":" +
                      std::to_string(message->GetStartColumn(js->context).FromMaybe(0) + 1) + ": " +
                      utf8(js->isolate(), error);
    return make_error(js->isolate(), "EMODULE", why.c_str());
}

} // namespace

void set_module_callbacks(v8::Isolate *isolate)
{
    isolate->SetHostImportModuleDynamicallyCallback(import_dynamically);
    isolate->SetHostInitializeImportMetaObjectCallback(import_meta);
}

bool make_isola_module(isola_js *js, v8::Local<v8::Object> exports)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Array> properties;
    if (!exports->GetOwnPropertyNames(js->context).ToLocal(&properties))
        return false;
    std::vector<v8::Local<v8::String>> names{text(isolate, "default")};
    for (uint32_t i = 0; i < properties->Length(); i++)
        names.push_back(properties->Get(js->context, i).ToLocalChecked().As<v8::String>());
    js->v->isola_exports.Reset(isolate, exports);
    v8::Local<v8::Module> module = v8::Module::CreateSyntheticModule(
        isolate, text(isolate, "isola"),
        v8::MemorySpan<const v8::Local<v8::String>>(names.data(), names.size()), fill_isola_module);
    js->v->isola_module.Reset(isolate, module);
    v8::Local<v8::Value> ignored;
    return module->InstantiateModule(js->context, resolve).FromMaybe(false) &&
           module->Evaluate(js->context).ToLocal(&ignored);
}

} // namespace isola

using namespace isola;

extern "C" void isola_js_load(struct isola_js *js, struct isola_slice type, struct isola_slice code,
                              struct isola_slice name)
{
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::Local<v8::Value> type_value = text(isolate, type);
    std::string file(reinterpret_cast<const char *>(name.data), name.len);
    {
        v8::TryCatch caught(isolate);
        v8::ScriptOrigin origin(text(isolate, name), 0, 0, false, -1, v8::Local<v8::Value>(), false,
                                false, true);
        v8::ScriptCompiler::Source source(text(isolate, code), origin);
        v8::Local<v8::Module> module;
        v8::Local<v8::Value> result;
        if (!v8::ScriptCompiler::CompileModule(isolate, &source).ToLocal(&module)) {
            report(js, type_value, located(js, caught, file));
        } else if (!module->InstantiateModule(js->context, resolve).FromMaybe(false)) {
            report(js, type_value, located(js, caught, file));
        } else if (!module->Evaluate(js->context).ToLocal(&result)) {
            report(js, type_value, located(js, caught, file));
        } else {
            v8::Local<v8::Value> parts[] = {type_value, module->GetModuleNamespace()};
            auto data = v8::Array::New(isolate, parts, 2);
            auto ok = v8::Function::New(js->context, evaluated, data).ToLocalChecked();
            auto bad = v8::Function::New(js->context, threw, data).ToLocalChecked();
            v8::Local<v8::Promise> ignored;
            if (!result.As<v8::Promise>()->Then(js->context, ok, bad).ToLocal(&ignored))
                report(js, type_value, located(js, caught, file));
        }
    }
    after_entry(js);
}
