// SPDX-License-Identifier: Apache-2.0
//
// What lib/runtime/storage.js gets from C: an actor's storage (actors/storage.c). Scripts cannot
// reach these functions.
#include <vector>

#include "actors/v8/natives.hh"
#include "base/check.h"

namespace isola
{

namespace
{

constexpr int kKeyMax = 2048; // bytes
constexpr size_t kValueMax = 16u << 20;

// What a native function is called with; its first argument is the actor's serial.
struct Call {
    explicit Call(Info info)
        : isolate(info.GetIsolate()), js{from(isolate), isolate->GetCurrentContext()},
          ops(js.v->ops), arg(js.v->arg),
          actor(info[0]->IsUint32() ? info[0].As<v8::Uint32>()->Value() : 0)
    {
    }
    v8::Isolate *isolate;
    isola_js js;
    const isola_v8_ops *ops;
    void *arg;
    uint32_t actor;
};

// False: thrown.
bool done(const Call &call, int code, const isola_err &err)
{
    if (code != 0)
        call.isolate->ThrowException(make_error(call.isolate, isola_error_name(code), err.text));
    return code == 0;
}

void refuse(v8::Isolate *isolate, const std::string &what)
{
    isolate->ThrowException(v8::Exception::TypeError(text(isolate, what.c_str())));
}

bool well_formed(v8::Isolate *isolate, v8::Local<v8::String> s)
{
    if (s->IsOneByte())
        return true;
    v8::String::ValueView view(isolate, s);
    for (uint32_t i = 0; !view.is_one_byte() && i < view.length(); i++) {
        uint16_t c = view.data16()[i];
        if ((c & 0xf800) != 0xd800)
            continue;
        if ((c & 0x0400) != 0 || i + 1 == view.length() ||
            (view.data16()[i + 1] & 0xfc00) != 0xdc00)
            return false;
        i++;
    }
    return true;
}

// The bytes of a key, or of a bound of a range (`what`). False: thrown.
class Key
{
  public:
    bool read(v8::Isolate *isolate, v8::Local<v8::Value> value, const char *what, bool is_key)
    {
        if (!value->IsString()) {
            refuse(isolate, std::string(what) + " is a string, not " +
                                utf8(isolate, value->TypeOf(isolate)));
            return false;
        }
        v8::Local<v8::String> s = value.As<v8::String>();
        if (is_key && s->Length() == 0) {
            refuse(isolate, std::string(what) + " is not empty");
            return false;
        }
        if (!well_formed(isolate, s)) {
            refuse(isolate, std::string(what) +
                                " is well-formed Unicode: it has half of a surrogate "
                                "pair");
            return false;
        }
        // A unit of UTF-16 takes three bytes at the most.
        if (s->Length() <= kKeyMax)
            len_ = s->WriteUtf8V2(isolate, bytes_, sizeof(bytes_), v8::String::WriteFlags::kNone);
        if (s->Length() > kKeyMax || len_ > kKeyMax) {
            std::string why = std::string(what) +
                              " has at most 2,048 bytes of UTF-8; this one has " +
                              std::to_string(s->Utf8LengthV2(isolate));
            isolate->ThrowException(make_error(isolate, "ETOOBIG", why.c_str()));
            return false;
        }
        return true;
    }
    Slice slice() const { return isola_slice(bytes_, len_); }
    std::string string() const { return std::string(bytes_, len_); }

  private:
    char bytes_[3 * kKeyMax];
    size_t len_ = 0;
};

// put(actor, key, value)
void put(Info info)
{
    Call call(info);
    Key key;
    Scratch bytes(&call.js);
    if (!key.read(call.isolate, info[1], "a key", true) ||
        !encode(&call.js, info[2], Wrap::Item, bytes.buf()))
        return; // thrown
    isola_err err{};
    Slice value = bytes.slice();
    if (value.len > kValueMax) {
        call.isolate->ThrowException(
            make_error(call.isolate, "ETOOBIG", "value: it takes more than 16 MB to save"));
        return;
    }
    (void)done(call, call.ops->storage_put(call.arg, call.actor, key.slice(), &value, &err), err);
}

v8::MaybeLocal<v8::Value> value_of(const Call &call, isola_js *js, Slice bytes)
{
    v8::Local<v8::Value> value;
    if (decode(js, bytes).ToLocal(&value))
        return value;
    if (!ending(js->v))
        call.isolate->ThrowException(
            make_error(call.isolate, "EIO", "what is stored cannot be read: it is malformed"));
    return {};
}

v8::Local<v8::Promise> wait_for(const Call &call, uint64_t id, Awaited awaited)
{
    v8::Local<v8::Promise::Resolver> resolver;
    ISOLA_CHECK(v8::Promise::Resolver::New(call.js.context).ToLocal(&resolver) ||
                ending(call.js.v));
    if (resolver.IsEmpty())
        return {};
    awaited.promise.Reset(call.isolate, resolver);
    call.js.v->stored.emplace(id, std::move(awaited));
    return resolver->GetPromise();
}

// Begins what will be answered. Returns its promise to the script.
template <typename Begin> void begin(Info info, const Call &call, Awaited awaited, Begin begin)
{
    isola_err err{};
    uint64_t id = ++call.js.v->stored_last;
    if (!done(call, begin(id, &err), err))
        return;
    v8::Local<v8::Promise> promise = wait_for(call, id, std::move(awaited));
    if (!promise.IsEmpty())
        info.GetReturnValue().Set(promise);
}

void add(const Call &call, v8::Local<v8::Array> to, v8::Local<v8::Value> value)
{
    (void)to->CreateDataProperty(call.js.context, to->Length(), value).FromMaybe(false);
}

// What is known of some keys, and which others are to be read. False: thrown.
struct Lookup {
    Lookup(Call *call, v8::Local<v8::Array> keys, bool values) : call_(call)
    {
        if (values)
            pairs = v8::Array::New(call->isolate);
        n_ = keys->Length();
        for (uint32_t i = 0; ok && i < n_; i++)
            ok = look(keys, i, values);
    }
    bool look(v8::Local<v8::Array> keys, uint32_t i, bool values)
    {
        v8::Local<v8::Value> name, value;
        Key key;
        const isola_kept *item = nullptr;
        isola_err err{};
        if (!keys->Get(call_->js.context, i).ToLocal(&name) ||
            !key.read(call_->isolate, name, "a key", true) ||
            !done(*call_,
                  call_->ops->storage_peek(call_->arg, call_->actor, key.slice(), &item, &err),
                  err))
            return false;
        if (item == nullptr) {
            unknown.push_back(key.string());
        } else if (!item->gone) {
            count++;
            if (values && !value_of(*call_, &call_->js, item->value).ToLocal(&value))
                return false;
            if (values) {
                add(*call_, pairs, name);
                add(*call_, pairs, value);
            }
        }
        return true;
    }
    int read(uint64_t id, isola_err *err)
    {
        std::vector<Slice> keys;
        for (const std::string &key : unknown)
            keys.push_back(isola_slice(key.data(), key.size()));
        return call_->ops->storage_get(call_->arg, call_->actor, id, keys.data(), keys.size(), err);
    }
    bool ok = true;
    uint32_t count = 0;
    std::vector<std::string> unknown;
    v8::Local<v8::Array> pairs;

  private:
    Call *call_;
    uint32_t n_;
};

// get(actor, key) → its value or undefined, or a promise of that
void get(Info info)
{
    Call call(info);
    Key key;
    const isola_kept *item = nullptr;
    isola_err err{};
    v8::Local<v8::Value> value;
    if (!key.read(call.isolate, info[1], "a key", true) ||
        !done(call, call.ops->storage_peek(call.arg, call.actor, key.slice(), &item, &err), err))
        return;
    if (item != nullptr) {
        if (!item->gone && value_of(call, &call.js, item->value).ToLocal(&value))
            info.GetReturnValue().Set(value);
        return;
    }
    Slice name = key.slice();
    begin(info, call, {Awaited::Value, call.actor}, [&](uint64_t id, isola_err *why) {
        return call.ops->storage_get(call.arg, call.actor, id, &name, 1, why);
    });
}

// getMany(actor, keys) → [key, value, …] of those that are there, in no order, or a promise
void get_many(Info info)
{
    Call call(info);
    if (!info[1]->IsArray())
        return;
    Lookup lookup(&call, info[1].As<v8::Array>(), true);
    if (!lookup.ok)
        return;
    if (lookup.unknown.empty()) {
        info.GetReturnValue().Set(lookup.pairs);
        return;
    }
    Awaited awaited{Awaited::Pairs, call.actor};
    awaited.pairs.Reset(call.isolate, lookup.pairs);
    begin(info, call, std::move(awaited),
          [&](uint64_t id, isola_err *why) { return lookup.read(id, why); });
}

// remove(actor, keys) → how many of them there were, or a promise
void remove(Info info)
{
    Call call(info);
    if (!info[1]->IsArray())
        return;
    v8::Local<v8::Array> keys = info[1].As<v8::Array>();
    Lookup lookup(&call, keys, false);
    if (!lookup.ok)
        return;
    Awaited awaited{Awaited::Count, call.actor, lookup.count};
    if (lookup.unknown.empty())
        info.GetReturnValue().Set(lookup.count);
    else
        begin(info, call, std::move(awaited),
              [&](uint64_t id, isola_err *why) { return lookup.read(id, why); });
    if (!lookup.unknown.empty() && !info.GetReturnValue().Get()->IsPromise())
        return; // thrown
    for (uint32_t i = 0; i < keys->Length(); i++) {
        v8::Local<v8::Value> name;
        Key key;
        isola_err err{};
        if (!keys->Get(call.js.context, i).ToLocal(&name) ||
            !key.read(call.isolate, name, "a key", true) ||
            !done(call, call.ops->storage_put(call.arg, call.actor, key.slice(), nullptr, &err),
                  err))
            return;
    }
}

bool bound_of(v8::Isolate *isolate, v8::Local<v8::Value> value, const char *what, std::string *out)
{
    Key key;
    if (value->IsUndefined())
        return true;
    if (!key.read(isolate, value, what, false))
        return false;
    *out = key.string();
    return true;
}

// page(actor, prefix, start, startAfter, end, behind, rows, reverse) → [key, value, …, behind], or
// a promise; `behind`: a key to go on from, or undefined
void page(Info info)
{
    Call call(info);
    std::string prefix, start, after, end, behind;
    if (!bound_of(call.isolate, info[1], "prefix", &prefix) ||
        !bound_of(call.isolate, info[2], "start", &start) ||
        !bound_of(call.isolate, info[3], "startAfter", &after) ||
        !bound_of(call.isolate, info[4], "end", &end) ||
        !bound_of(call.isolate, info[5], "a key", &behind))
        return;
    bool reverse = info[7]->IsTrue(), goes_on = !info[5]->IsUndefined();
    std::string from = start > prefix ? start : prefix, to = prefix;
    if (!info[3]->IsUndefined() && after + '\0' > from)
        from = after + '\0';
    if (!to.empty()) // the least text behind all with the prefix: UTF-8 has no byte 0xff
        to.back() = static_cast<char>(to.back() + 1);
    bool nothing = !info[4]->IsUndefined() && end.empty();
    if (!end.empty() && (to.empty() || end < to))
        to = end;
    if (goes_on && reverse && (to.empty() || behind < to))
        to = behind;
    else if (goes_on && !reverse && behind + '\0' > from)
        from = behind + '\0';
    if (nothing || (!to.empty() && to <= from)) {
        v8::Local<v8::Value> only[] = {v8::Undefined(call.isolate)};
        info.GetReturnValue().Set(v8::Array::New(call.isolate, only, 1));
        return;
    }
    isola_v8_range range{};
    range.from = isola_slice(from.data(), from.size());
    range.to = isola_slice(to.data(), to.size());
    range.rows = info[6]->IsUint32() ? info[6].As<v8::Uint32>()->Value() : 0;
    range.reverse = reverse;
    begin(info, call, {Awaited::Page, call.actor}, [&](uint64_t id, isola_err *why) {
        return call.ops->storage_list(call.arg, call.actor, id, &range, why);
    });
}

template <isola_v8_step step> void take_step(Info info)
{
    Call call(info);
    isola_err err{};
    (void)done(call, call.ops->storage_step(call.arg, call.actor, step, 0, &err), err);
}

// sync(actor) → a promise
void sync(Info info)
{
    Call call(info);
    drain(&call.js); // what was sent before
    begin(info, call, {Awaited::Nothing, call.actor}, [&](uint64_t id, isola_err *why) {
        return call.ops->storage_step(call.arg, call.actor, ISOLA_V8_SYNC, id, why);
    });
}

const Native functions[] = {{"put", put},
                            {"get", get},
                            {"getMany", get_many},
                            {"remove", remove},
                            {"page", page},
                            {"begin", take_step<ISOLA_V8_BEGIN>},
                            {"commit", take_step<ISOLA_V8_COMMIT>},
                            {"rollback", take_step<ISOLA_V8_ROLLBACK>},
                            {"wipe", take_step<ISOLA_V8_WIPE>},
                            {"sync", sync}};

// The keys and values of items, behind those that were known.
bool add_pairs(isola_js *js, std::vector<v8::Local<v8::Value>> *to, const isola_kept *items,
               size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v8::Local<v8::Value> value;
        if (!decode(js, items[i].value).ToLocal(&value))
            return false;
        to->push_back(text(js->isolate(), items[i].peer));
        to->push_back(value);
    }
    return true;
}

// What the promise is fulfilled with. Empty: it cannot be read.
v8::MaybeLocal<v8::Value> result_of(isola_js *js, const Awaited &awaited, const isola_kept *items,
                                    size_t n, Slice beyond)
{
    v8::Isolate *isolate = js->isolate();
    std::vector<v8::Local<v8::Value>> list;
    switch (awaited.shape) {
    case Awaited::Nothing:
        break;
    case Awaited::Value:
        if (n > 0)
            return decode(js, items[0].value);
        break;
    case Awaited::Count:
        return v8::Integer::NewFromUnsigned(isolate, awaited.count + static_cast<uint32_t>(n));
    case Awaited::Pairs: {
        v8::Local<v8::Array> known = awaited.pairs.Get(isolate);
        for (uint32_t i = 0; i < known->Length(); i++)
            list.push_back(known->Get(js->context, i).ToLocalChecked());
        if (!add_pairs(js, &list, items, n))
            return {};
        return v8::Array::New(isolate, list.data(), list.size());
    }
    case Awaited::Page:
        if (!add_pairs(js, &list, items, n))
            return {};
        if (beyond.len > 0)
            list.push_back(text(isolate, beyond));
        else
            list.push_back(v8::Undefined(isolate));
        return v8::Array::New(isolate, list.data(), list.size());
    }
    return v8::Undefined(isolate).As<v8::Value>();
}

} // namespace

const NativeGroup storage_natives = {"storage", functions,
                                     sizeof(functions) / sizeof(functions[0])};

void forget_stored(isola_v8 *v, uint32_t actor)
{
    for (auto at = v->stored.begin(); at != v->stored.end();)
        at = at->second.actor == actor ? v->stored.erase(at) : ++at;
}

} // namespace isola

using namespace isola;

void isola_js_stored(struct isola_js *js, uint32_t actor, uint64_t id, int code, const char *why,
                     const struct isola_kept *items, size_t n, struct isola_slice beyond)
{
    Entry in(js, actor, 0);
    if (!in)
        return;
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    auto at = js->v->stored.find(id);
    if (at == js->v->stored.end())
        return;
    Awaited awaited = std::move(at->second);
    js->v->stored.erase(at);
    v8::Local<v8::Promise::Resolver> promise = awaited.promise.Get(isolate);
    v8::TryCatch caught(isolate);
    v8::Local<v8::Value> result;
    if (code == 0 && !result_of(js, awaited, items, n, beyond).ToLocal(&result)) {
        code = ISOLA_EIO;
        why = "what is stored cannot be read: it is malformed";
    }
    if (code != 0)
        (void)promise->Reject(js->context, make_error(isolate, isola_error_name(code), why))
            .FromMaybe(false);
    else
        (void)promise->Resolve(js->context, result).FromMaybe(false);
    after_entry(js);
}
