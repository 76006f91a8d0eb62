// SPDX-License-Identifier: Apache-2.0
//
// How an isolate gets the runtime's JavaScript side: it is booted once, in the isolate that the
// platform snapshot is made of, and run in there, so that its functions are compiled; what C holds
// of it (the hooks, the symbol of addresses, the modules scripts import) is data of the snapshot,
// in the order it is put in here, and fetched from there by each new isolate. A birth runs no
// script of ours.
#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

const char *const hook_names[HOOK_COUNT] = {
    "makeRef", "load",    "activate",  "deactivate", "run",   "use",   "named", "event",
    "settle",  "expire",  "cancelled", "dropAsk",    "abort", "timer", "wait",  "hibernate",
    "tick",    "builtin", "io",        "watch",      "lazy",  "stream"};

// What the runtime may call while it is made: nobody is there yet.
void wake(void *) {}
void wake_later(void *, uint64_t) {}
int send(void *, const isola_v8_send *, uint64_t *id, isola_err *)
{
    *id = 1;
    return 0;
}
uint32_t refer(void *, Slice, uint32_t *, isola_err *)
{
    return 1;
}
bool congested(void *, uint32_t)
{
    return false;
}
bool crowded(void *)
{
    return false;
}
void pace(void *, uint32_t, uint64_t, Slice) {}
void drains(void *, bool) {}
void drained(void *) {}
void expects(void *, const uint32_t *, uint32_t) {}
bool heard(void *, uint32_t, Slice)
{
    return true;
}
void publish(void *, uint32_t, uint32_t, Slice, Slice) {}
bool trace(void *, uint32_t, uint32_t, isola_buf *)
{
    return false;
}
void unheard(void *, uint32_t, uint32_t) {}
void done(void *, uint32_t, uint32_t, bool, Slice, void **) {}
void upgrades(void *, uint32_t) {}
void activated(void *, uint32_t, Slice) {}
void crash(void *, uint32_t, Slice) {}
void log(void *, uint32_t, isola_log_level, Slice) {}
uint64_t timer_set(void *, uint32_t, uint64_t, bool)
{
    return 1;
}
void timer_clear(void *, uint64_t) {}
void looked(void *, uint32_t) {}
void loaded(void *, Slice, Slice) {}
Slice env(void *)
{
    return {};
}
int io_start(void *, uint32_t, bool, Slice, Slice, Slice, uint64_t *, isola_err *err)
{
    return isola_fail(err, ISOLA_EPERM, "nothing outside can be had here");
}
isola_sql *sql(void *, uint32_t, const isola_sql_ops **, isola_sql_fault *fault)
{
    isola_fail(&fault->err, ISOLA_EPERM, "there is no database here");
    return nullptr;
}
void io_more(void *, uint64_t) {}
void io_cancel(void *, uint64_t) {}

v8::MaybeLocal<v8::Value> member(isola_js *js, v8::Local<v8::Value> object, const char *name)
{
    return object.As<v8::Object>()->Get(js->context, text(js->isolate(), name));
}

// Takes the hooks and what else `boot` returns.
bool take(isola_js *js, v8::Local<v8::Value> returned)
{
    v8::Isolate *isolate = js->isolate();
    if (!returned->IsObject())
        return false;
    for (int i = 0; i < HOOK_COUNT; i++) {
        v8::Local<v8::Value> hook;
        if (!member(js, returned, hook_names[i]).ToLocal(&hook) || !hook->IsFunction())
            return false;
        js->v->hooks[i].Reset(isolate, hook.As<v8::Function>());
    }
    v8::Local<v8::Value> symbol, memory, exports;
    if (!member(js, returned, "addressSymbol").ToLocal(&symbol) || !symbol->IsSymbol() ||
        !member(js, returned, "memory").ToLocal(&memory) || !take_ring(js, memory) ||
        !member(js, returned, "exports").ToLocal(&exports) || !exports->IsObject())
        return false;
    js->v->address_symbol.Reset(isolate, symbol.As<v8::Symbol>());
    return add_builtin(js, "isola", exports.As<v8::Object>());
}

// What is made when a script first looks at it (lib/runtime/main.js), and is an ordinary property
// from then on.
void make_lazy(v8::Local<v8::Name> name, const v8::PropertyCallbackInfo<v8::Value> &info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_v8 *v = from(isolate);
    v8::Local<v8::Value> argv[] = {name, info.Data()}, value;
    if (v != nullptr && !v->hooks[HOOK_LAZY].IsEmpty() &&
        v->hooks[HOOK_LAZY]
            .Get(isolate)
            ->Call(isolate->GetCurrentContext(), v8::Undefined(isolate), 2, argv)
            .ToLocal(&value))
        info.GetReturnValue().Set(value);
}

// One group of them: [object, maker, enumerable, names].
bool define_group(isola_js *js, v8::Local<v8::Array> group, uint32_t number)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Value> object, enumerable, names, name;
    if (!group->Get(js->context, 0).ToLocal(&object) || !object->IsObject() ||
        !group->Get(js->context, 2).ToLocal(&enumerable) ||
        !group->Get(js->context, 3).ToLocal(&names) || !names->IsArray())
        return false;
    for (uint32_t i = 0; i < names.As<v8::Array>()->Length(); i++)
        if (!names.As<v8::Array>()->Get(js->context, i).ToLocal(&name) || !name->IsName() ||
            !object.As<v8::Object>()
                 ->SetLazyDataProperty(js->context, name.As<v8::Name>(), make_lazy,
                                       v8::Integer::NewFromUnsigned(isolate, number),
                                       enumerable->IsTrue() ? v8::None : v8::DontEnum)
                 .FromMaybe(false))
            return false;
    return true;
}

bool define_lazies(isola_js *js, v8::Local<v8::Value> returned)
{
    v8::Local<v8::Value> groups, group;
    if (!member(js, returned, "lazies").ToLocal(&groups) || !groups->IsArray())
        return false;
    for (uint32_t i = 0; i < groups.As<v8::Array>()->Length(); i++)
        if (!groups.As<v8::Array>()->Get(js->context, i).ToLocal(&group) || !group->IsArray() ||
            !define_group(js, group.As<v8::Array>(), i))
            return false;
    return true;
}

// The runtime's own rehearsal (lib/runtime/warm.js): its functions are compiled by it.
bool rehearse(isola_js *js, v8::Local<v8::Value> returned)
{
    v8::Local<v8::Value> warm, ignored;
    if (!member(js, returned, "warm").ToLocal(&warm) || !warm->IsFunction() ||
        !warm.As<v8::Function>()
             ->Call(js->context, v8::Undefined(js->isolate()), 1, &returned)
             .ToLocal(&ignored))
        return false;
    after_entry(js);
    return true;
}

// Puts what C holds of the context into the snapshot that is made of it, for `revive`.
bool keep(v8::SnapshotCreator *creator, isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    size_t n = 0;
    bool ok = true;
    for (auto &hook : js->v->hooks)
        ok = ok && creator->AddData(js->context, hook.Get(isolate)) == n++;
    ok = ok && creator->AddData(js->context, js->v->address_symbol.Get(isolate)) == n++;
    ok = ok && creator->AddData(js->context, js->v->memory.Get(isolate)) == n++;
    v8::Local<v8::Array> names = v8::Array::New(isolate);
    for (auto &[name, b] : js->v->builtins)
        ok = ok &&
             names->Set(js->context, names->Length(), text(isolate, name.c_str())).FromMaybe(false);
    ok = ok && creator->AddData(js->context, names) == n++;
    for (auto &[name, b] : js->v->builtins)
        ok = ok && creator->AddData(js->context, b.module.Get(isolate)) == n++ &&
             creator->AddData(js->context, b.exports.Get(isolate)) == n++;
    return ok;
}

} // namespace

const isola_v8_ops quiet_ops = {
    .wake = wake,
    .wake_later = wake_later,
    .refer = refer,
    .congested = congested,
    .crowded = crowded,
    .pace = pace,
    .drains = drains,
    .drained = drained,
    .expects = expects,
    .send = send,
    .heard = heard,
    .publish = publish,
    .trace = trace,
    .unheard = unheard,
    .done = done,
    .upgrades = upgrades,
    .activated = activated,
    .crash = crash,
    .log = log,
    .timer_set = timer_set,
    .timer_clear = timer_clear,
    .looked = looked,
    .sql = sql,
    .loaded = loaded,
    .place = nullptr,
    .env = env,
    .secrets = env,
    .io_start = io_start,
    .io_more = io_more,
    .io_cancel = io_cancel,
};

void add_birth_references(std::vector<intptr_t> *to)
{
    to->push_back(reinterpret_cast<intptr_t>(make_lazy));
}

bool boot(isola_js *js, std::string *why)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Context> context = js->context;
    v8::TryCatch caught(isolate);
    v8::Local<v8::String> name = text(isolate, "__isola_boot");
    v8::Local<v8::Value> function, returned;
    v8::Local<v8::Object> global = context->Global();
    v8::Local<v8::Value> natives = make_group(isolate, context, runtime_natives);
    if (global->Get(context, name).ToLocal(&function) && function->IsFunction() &&
        global->Delete(context, name).FromMaybe(false) &&
        function.As<v8::Function>()
            ->Call(context, v8::Undefined(isolate), 1, &natives)
            .ToLocal(&returned) &&
        take(js, returned) && define_lazies(js, returned) && rehearse(js, returned))
        return true;
    *why = "the runtime does not boot: " + describe(js, caught.Exception());
    return false;
}

bool revive(isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Context> context = js->context;
    size_t n = 0;
    for (auto &hook : js->v->hooks) {
        v8::Local<v8::Function> function;
        if (!context->GetDataFromSnapshotOnce<v8::Function>(n++).ToLocal(&function))
            return false;
        hook.Reset(isolate, function);
    }
    v8::Local<v8::Symbol> symbol;
    v8::Local<v8::ArrayBuffer> memory;
    v8::Local<v8::Array> names;
    if (!context->GetDataFromSnapshotOnce<v8::Symbol>(n++).ToLocal(&symbol) ||
        !context->GetDataFromSnapshotOnce<v8::ArrayBuffer>(n++).ToLocal(&memory) ||
        !take_ring(js, memory) || !context->GetDataFromSnapshotOnce<v8::Array>(n++).ToLocal(&names))
        return false;
    js->v->address_symbol.Reset(isolate, symbol);
    for (uint32_t i = 0; i < names->Length(); i++) {
        v8::Local<v8::Value> name;
        v8::Local<v8::Module> module;
        v8::Local<v8::Object> exports;
        if (!names->Get(context, i).ToLocal(&name) ||
            !context->GetDataFromSnapshotOnce<v8::Module>(n++).ToLocal(&module) ||
            !context->GetDataFromSnapshotOnce<v8::Object>(n++).ToLocal(&exports))
            return false;
        isola_v8::Builtin &b = js->v->builtins[utf8(isolate, name)];
        b.module.Reset(isolate, module);
        b.exports.Reset(isolate, exports);
    }
    return true;
}

v8::StartupData make_snapshot(isola_v8 *v, const v8::Isolate::CreateParams &params,
                              bool (*fill)(isola_js *js, void *arg), void *arg)
{
    v8::Isolate *isolate = v->isolate = v8::Isolate::Allocate();
    v8::StartupData blob;
    bool ok;
    v->making = true;
    register_isolate(isolate, v->tasks.get());
    {
        v8::SnapshotCreator creator(isolate, params);
        isolate->SetData(0, v);
        set_callbacks(isolate);
        {
            v8::HandleScope scope(isolate);
            v8::Local<v8::Context> context = v8::Context::New(isolate);
            {
                v8::Context::Scope entered(context);
                isola_js js{v, context};
                ok = fill(&js, arg) && keep(&creator, &js);
            }
            creator.SetDefaultContext(context);
        }
        forget_handles(v);
        // A creator must make one before it goes.
        blob = creator.CreateBlob(v8::SnapshotCreator::FunctionCodeHandling::kKeep);
    }
    dispose_isolate(isolate);
    if (ok)
        return blob;
    delete[] blob.data;
    return {nullptr, 0};
}

void forget_handles(isola_v8 *v)
{
    v->rejections.clear();
    v->rejection_index.clear();
    v->stored.clear();
    for (auto &hook : v->hooks)
        hook.Reset();
    v->address_symbol.Reset();
    v->cron.Reset();
    v->object_prototype.Reset();
    v->shapes.reset();
    for (auto &model : v->models)
        model.Reset();
    v->memory.Reset();
    v->ring.ahead.forget();
    v->lone.forget();
    v->holders.clear();
    v->state_name.Reset();
    v->builtins.clear();
    v->context.Reset();
}

} // namespace isola
