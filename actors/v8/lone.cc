// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/lone.hh"

#include "actors/v8/footprint.hh"
#include "actors/v8/heap.hh"
#include "actors/v8/internal.hh"
#include "base/msg.h"

namespace isola
{
namespace
{

// Of a message with more, JavaScript makes the call.
constexpr uint32_t kArgs = 8;

// How deep what a handler calls is fetched before it is called.
constexpr int kCalls = 2;

bool is_message(const int32_t *record)
{
    return record[Ring::kKind] == Ring::kAsked || record[Ring::kKind] == Ring::kEmitted;
}

// The values of the record; how many, or -1: JavaScript is to have them, or to say what is wrong.
int read(isola_js *js, const int32_t *record, v8::Local<v8::Value> argv[kArgs])
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Array> all;
    double d;
    switch (record[Ring::kTag]) {
    case Ring::kNone:
        return 0;
    case Ring::kUndefined:
        argv[0] = v8::Undefined(isolate);
        return 1;
    case Ring::kNull:
        argv[0] = v8::Null(isolate);
        return 1;
    case Ring::kFalse:
    case Ring::kTrue:
        argv[0] = v8::Boolean::New(isolate, record[Ring::kTag] == Ring::kTrue);
        return 1;
    case Ring::kInteger:
        argv[0] = v8::Integer::New(isolate, record[Ring::kValue]);
        return 1;
    case Ring::kDouble:
        memcpy(&d, record + Ring::kValue, sizeof(d));
        argv[0] = v8::Number::New(isolate, d);
        return 1;
    case Ring::kEncoded:
    case Ring::kEncoded1:
        break;
    default: // few bytes: it has a faster way to an array of them
        return -1;
    }
    const Ring::Mail &mail = js->v->ring.mails[0];
    js->v->receiver = mail.actor;
    bool ok = decode_args(js, mail.args, mail.block).ToLocal(&all);
    js->v->receiver = 0;
    if (!ok || all->Length() > kArgs)
        return -1;
    for (uint32_t i = 0; i < all->Length(); i++)
        if (!all->Get(js->context, i).ToLocal(&argv[i]))
            return -1;
    return static_cast<int>(all->Length());
}

// Puts a value into the record, if it is one that fits (fits in lib/runtime/ring.js).
bool fits(int32_t *record, v8::Local<v8::Value> value)
{
    if (value->IsInt32()) { // -0 is none
        record[Ring::kTag] = Ring::kInteger;
        record[Ring::kValue] = value.As<v8::Int32>()->Value();
    } else if (value->IsNumber()) {
        double d = value.As<v8::Number>()->Value();
        record[Ring::kTag] = Ring::kDouble;
        memcpy(record + Ring::kValue, &d, sizeof(d));
    } else if (value->IsUndefined()) {
        record[Ring::kTag] = Ring::kUndefined;
    } else if (value->IsNull()) {
        record[Ring::kTag] = Ring::kNull;
    } else if (value->IsBoolean()) {
        record[Ring::kTag] = value->IsTrue() ? Ring::kTrue : Ring::kFalse;
    } else {
        return false;
    }
    return true;
}

// Its turn has ended with this record; what was sent before it goes before it.
void finished(const Ring &ring, int32_t *record)
{
    record[Ring::kBefore] = ring.ints[Ring::kSent];
    record[Ring::kKind] = Ring::kFinished;
}

// Its turn has ended with the value or, else, an error (done in lib/runtime/ring.js).
void done(isola_js *js, const int32_t *record, bool ok, v8::Local<v8::Value> value)
{
    Ring &ring = js->v->ring;
    Scratch bytes(js);
    isola_buf_extend(bytes.buf(), ISOLA_MSG_BEFORE);
    if (ok) {
        v8::TryCatch caught(js->isolate());
        ok = encode(js, value, Wrap::ArgsOfOne, bytes.buf(), true);
        if (caught.HasTerminated() || ending(js->v))
            return;
        if (!ok)
            value = caught.Exception();
    }
    if (!ok) {
        bytes.buf()->len = ISOLA_MSG_BEFORE;
        encode_error(js, value, bytes.buf());
    }
    keep_encoded(js, {}, bytes.buf());
    int32_t *r = ring.out(static_cast<uint32_t>(ring.ints[Ring::kSent]));
    r[Ring::kKind] = ok ? Ring::kDone : Ring::kFailed;
    r[Ring::kTag] = Ring::kEncoded;
    r[Ring::kFrom] = record[Ring::kSerial];
    r[Ring::kInTurn] = record[Ring::kNumber];
    r[Ring::kValue] = ring.ints[Ring::kOffset];
    r[Ring::kValue + 1] = ring.ints[Ring::kLength];
    r[Ring::kEventLength] = 0;
    ring.ints[Ring::kWaits] = 0;
    ring.ints[Ring::kSent]++;
}

// May throw what a getter of the script's throws. (isThenable in lib/runtime/primordials.js)
bool is_thenable(isola_js *js, v8::Local<v8::Value> value, bool *thrown)
{
    v8::Local<v8::Value> then;
    if (!value->IsObject() || value->IsPromise())
        return value->IsPromise();
    *thrown = !value.As<v8::Object>()
                   ->Get(js->context, v8::String::NewFromUtf8Literal(
                                          js->isolate(), "then", v8::NewStringType::kInternalized))
                   .ToLocal(&then);
    return !*thrown && then->IsFunction();
}

} // namespace

void Lone::forget()
{
    for (Handler &h : handlers_)
        h.what.Reset();
    self_.Reset();
    actor_ = count_ = 0;
}

void Lone::learn(isola_js *js, uint32_t actor, uint32_t event, v8::Local<v8::Value> handler,
                 v8::Local<v8::Object> self)
{
    int32_t *ints = js->v->ring.ints;
    if (event == 0)
        return;
    if (actor != actor_ || ints[Ring::kHandlers] == 0) {
        forget();
        actor_ = actor;
        self_.Reset(js->isolate(), self);
    }
    Handler &h = handlers_[count_++ % kMost];
    h.event = event;
    h.what.Reset(js->isolate(), handler);
    ints[Ring::kHandlers] = 1;
}

const Lone::Handler *Lone::known(const Ring &ring, const int32_t *record) const
{
    if (record[Ring::kSerial] != static_cast<int32_t>(actor_) || ring.ints[Ring::kHandlers] == 0)
        return nullptr;
    for (const Handler &h : handlers_)
        if (h.event == static_cast<uint32_t>(record[Ring::kName]) && !h.what.IsEmpty())
            return &h;
    return nullptr;
}

v8::MaybeLocal<v8::Value> Lone::call(isola_js *js, const Handler &handler, int argc,
                                     v8::Local<v8::Value> argv[])
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::Object> self = self_.Get(isolate);
    v8::Local<v8::Value> function = handler.what.Get(isolate);
    if (function->IsName() && !self->Get(js->context, function).ToLocal(&function))
        return {};
    if (function->IsFunction()) {
        called_ = heap::address(function);
        called_at_ = js->v->collections;
        return function.As<v8::Function>()->Call(js->context, self, argc, argv);
    }
    isolate->ThrowException(
        v8::Exception::TypeError(text(isolate, "the method of this name is no function any more")));
    return {};
}

void Lone::add_to(Footprint *f, const isola_v8 *v) const
{
    if (count_ == 0)
        return;
    f->add(self_);
    f->add_object(heap::address(self_.Get(v->isolate)));
    for (const Handler &h : handlers_)
        f->add(h.what);
    if (called_ != 0 && called_at_ == v->collections)
        f->add_function(v->isolate, called_, kCalls);
}

bool Lone::run(isola_js *js)
{
    isola_v8 *v = js->v;
    Ring &ring = v->ring;
    int32_t *record = ring.in(0);
    ring.ints[Ring::kLearn] = 0;
    if (v->shared || ring.queued != 1 || !is_message(record) || record[Ring::kName] == 0)
        return false;
    const Handler *handler = known(ring, record);
    v8::Local<v8::Value> argv[kArgs], value;
    ring.ints[Ring::kLearn] = handler == nullptr;
    int argc = handler != nullptr ? read(js, record, argv) : -1;
    if (argc < 0)
        return false;
    v8::TryCatch caught(js->isolate());
    bool is_ask = record[Ring::kKind] == Ring::kAsked;
    ring.ints[Ring::kBurst] = 0;
    ring.ints[Ring::kActor] = record[Ring::kSerial];
    ring.ints[Ring::kTurn] = record[Ring::kNumber];
    set_frame(js->isolate(), actor_, static_cast<uint32_t>(record[Ring::kNumber]));
    bool thrown = !call(js, *handler, argc, argv).ToLocal(&value);
    bool later = !thrown && is_thenable(js, value, &thrown);
    if (caught.HasTerminated() || ending(v))
        return true;
    if (thrown) {
        done(js, record, false, caught.Exception());
    } else if (later) {
        v8::Local<v8::Value> args[] = {v8::Integer::NewFromUnsigned(js->isolate(), actor_),
                                       v8::Integer::New(js->isolate(), record[Ring::kNumber]),
                                       value};
        (void)enter_hook(js, HOOK_WAIT, actor_, 3, args);
    } else if (!is_ask || fits(record, value)) {
        if (!is_ask)
            record[Ring::kTag] = Ring::kUndefined;
        finished(ring, record);
    } else {
        done(js, record, true, value);
    }
    ring.ints[Ring::kActor] = 0;
    return true;
}

} // namespace isola
