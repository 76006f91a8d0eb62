// SPDX-License-Identifier: Apache-2.0
//
// What only V8 knows of a value, for util.inspect, assert and their kin: `internalBinding('util')`
// of Node.js' library; and the clock.
#include <algorithm>
#include <cstring>

#include "actors/v8/natives.hh"
#include "base/clock.h"

namespace isola
{
namespace
{

v8::PropertyFilter filter_of(Info info, int i)
{
    return info[i]->IsUint32()
               ? static_cast<v8::PropertyFilter>(info[i].As<v8::Uint32>()->Value() & 31)
               : v8::ALL_PROPERTIES;
}

// getOwnNonIndexProperties(object, filter) → names and symbols
void own_non_index_properties(Info info)
{
    v8::Local<v8::Array> names;
    if (info[0]->IsObject() &&
        info[0]
            .As<v8::Object>()
            ->GetPropertyNames(info.GetIsolate()->GetCurrentContext(),
                               v8::KeyCollectionMode::kOwnOnly, filter_of(info, 1),
                               v8::IndexFilter::kSkipIndices)
            .ToLocal(&names))
        info.GetReturnValue().Set(names);
}

// getConstructorName(object) → the name V8 knows it by
void constructor_name(Info info)
{
    if (info[0]->IsObject())
        info.GetReturnValue().Set(info[0].As<v8::Object>()->GetConstructorName());
}

// getPromiseDetails(promise) → [state, result], [state] while pending
void promise_details(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    if (!info[0]->IsPromise())
        return;
    auto promise = info[0].As<v8::Promise>();
    int state = promise->State();
    v8::Local<v8::Value> both[] = {v8::Integer::New(isolate, state), v8::Undefined(isolate)};
    if (state != v8::Promise::kPending)
        both[1] = promise->Result();
    info.GetReturnValue().Set(
        v8::Array::New(isolate, both, state == v8::Promise::kPending ? 1 : 2));
}

// getProxyDetails(value, whole = true) → [target, handler], or the target alone; undefined when it
// is no proxy
void proxy_details(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    if (!info[0]->IsProxy())
        return;
    auto proxy = info[0].As<v8::Proxy>();
    v8::Local<v8::Value> both[] = {proxy->GetTarget(), proxy->GetHandler()};
    if (info.Length() == 1 || info[1]->IsTrue())
        info.GetReturnValue().Set(v8::Array::New(isolate, both, 2));
    else
        info.GetReturnValue().Set(both[0]);
}

// previewEntries(collection or iterator, with kind) → entries, or [entries, are they pairs]
void preview_entries(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    bool pairs = false;
    v8::Local<v8::Array> entries;
    if (!info[0]->IsObject() || !info[0].As<v8::Object>()->PreviewEntries(&pairs).ToLocal(&entries))
        return;
    v8::Local<v8::Value> both[] = {entries, v8::Boolean::New(isolate, pairs)};
    if (info.Length() == 1)
        info.GetReturnValue().Set(entries);
    else
        info.GetReturnValue().Set(v8::Array::New(isolate, both, 2));
}

// privateSymbol(name): a key no script can get at, nor see
void private_symbol(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Private> key =
        v8::Private::New(isolate, text(isolate, utf8(isolate, info[0]).c_str()));
    info.GetReturnValue().Set(key.As<v8::Data>().As<v8::Value>());
}

void is_constructor(Info info)
{
    info.GetReturnValue().Set(info[0]->IsObject() && info[0].As<v8::Object>()->IsConstructor());
}

// noSideEffectsToString(value): runs nothing of the value's
void to_detail_string(Info info)
{
    v8::Local<v8::String> s;
    if (info[0]->ToDetailString(info.GetIsolate()->GetCurrentContext()).ToLocal(&s))
        info.GetReturnValue().Set(s);
}

void is_detached(Info info)
{
    info.GetReturnValue().Set(info[0]->IsArrayBuffer() &&
                              info[0].As<v8::ArrayBuffer>()->WasDetached());
}

// now() → ms of the monotonic clock, with fractions
void now(Info info)
{
    info.GetReturnValue().Set(static_cast<double>(isola_clock_ns()) / 1e6);
}

// age() → ms since the isolate's birth. What loads for an image is as old as those that begin with
// the image will be at their birth, so that no time it has kept lies ahead of theirs.
void age(Info info)
{
    const isola_v8 *v = from(info.GetIsolate());
    info.GetReturnValue().Set(v->making ? 0.0
                                        : static_cast<double>(isola_clock_ns()) / 1e6 - v->born_ms);
}

// born() → ms of the wall clock
void born(Info info)
{
    const isola_v8 *v = from(info.GetIsolate());
    info.GetReturnValue().Set(v->making ? static_cast<double>(isola_clock_wall_ms())
                                        : v->born_wall_ms);
}

// versions() → { node, v8, arch }
void versions(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    v8::Local<v8::Object> all = v8::Object::New(isolate);
#if defined(__aarch64__)
    const char *arch = "arm64";
#else
    const char *arch = "x64";
#endif
    all->CreateDataProperty(context, text(isolate, "node"), text(isolate, NODE_VERSION_STRING))
        .Check();
    all->CreateDataProperty(context, text(isolate, "v8"), text(isolate, v8::V8::GetVersion()))
        .Check();
    all->CreateDataProperty(context, text(isolate, "arch"), text(isolate, arch)).Check();
    info.GetReturnValue().Set(all);
}

// The first of NAME=VALUE, each ended by a NUL; what follows is left in `rest`.
struct Variable {
    Slice name, value;
};
bool next_variable(Slice *rest, Variable *out)
{
    while (rest->len > 0) {
        auto *line = reinterpret_cast<const char *>(rest->data);
        size_t n = strnlen(line, rest->len), name = strcspn(line, "=");
        bool good = name < n;
        if (good)
            *out = {isola_slice(line, name), isola_slice(line + name + 1, n - name - 1)};
        n = std::min(n + 1, rest->len);
        *rest = isola_slice(line + n, rest->len - n);
        if (good)
            return true;
    }
    return false;
}

// A secret, when a script first looks at it: so it lies on no heap where nobody has, and in no
// image.
void secret(v8::Local<v8::Name> name, const v8::PropertyCallbackInfo<v8::Value> &info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_v8 *v = from(isolate);
    std::string wanted = utf8(isolate, name);
    Slice rest = v->ops->secrets(v->arg);
    touch(v, ("it looks at the secret " + wanted + " while it loads").c_str());
    for (Variable one; next_variable(&rest, &one);)
        if (isola_slice_is(one.name, wanted.c_str()))
            info.GetReturnValue().Set(text(isolate, one.value));
}

// env() → the variables of the environment that the app may see
void env(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    v8::Local<v8::Object> all = v8::Object::New(isolate);
    const isola_v8 *v = from(isolate);
    Slice rest = v->ops->env(v->arg);
    for (Variable one; next_variable(&rest, &one);)
        all->CreateDataProperty(context, text(isolate, one.name), text(isolate, one.value)).Check();
    rest = v->ops->secrets(v->arg);
    for (Variable one; next_variable(&rest, &one);)
        all->SetLazyDataProperty(context, text(isolate, one.name), secret).Check();
    info.GetReturnValue().Set(all);
}

const Native functions[] = {
    {"env", env},
    {"getOwnNonIndexProperties", own_non_index_properties},
    {"getConstructorName", constructor_name},
    {"getPromiseDetails", promise_details},
    {"getProxyDetails", proxy_details},
    {"previewEntries", preview_entries},
    {"privateSymbol", private_symbol},
    {"isConstructor", is_constructor},
    {"noSideEffectsToString", to_detail_string},
    {"isArrayBufferDetached", is_detached},
    {"now", now},
    {"age", age},
    {"born", born},
    {"versions", versions},
};

} // namespace

void add_util_references(std::vector<intptr_t> *to)
{
    to->push_back(reinterpret_cast<intptr_t>(secret));
}

const NativeGroup util_natives = {"util", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
