// SPDX-License-Identifier: Apache-2.0
//
// The functions the runtime (actors/lib/runtime) gets from C, as an object of native functions.
// Each checks what it is given only as far as a slip of the runtime could hurt memory: scripts
// cannot reach them.
#include <cmath>

#include "actors/v8/natives.hh"
#include "base/msg.h"

namespace isola
{
namespace
{

// Gives each native function its isola_js.
struct Call {
    explicit Call(Info info)
        : isolate(info.GetIsolate()), js{from(isolate), isolate->GetCurrentContext()}, info_(info)
    {
    }
    uint32_t number(int i) { return static_cast<uint32_t>(integer(i)); }
    int64_t integer(int i)
    {
        return info_[i]->IsNumber() ? static_cast<int64_t>(info_[i].As<v8::Number>()->Value()) : 0;
    }
    uint32_t frame_field(int i, const char *name)
    {
        v8::Local<v8::Value> value;
        if (!info_[i]->IsObject() ||
            !info_[i].As<v8::Object>()->Get(js.context, text(isolate, name)).ToLocal(&value) ||
            !value->IsUint32())
            return 0;
        return value.As<v8::Uint32>()->Value();
    }
    v8::Isolate *isolate;
    isola_js js;

  private:
    Info info_;
};

struct Bytes : isola_buf {
    Bytes() : isola_buf{} {}
    ~Bytes() { isola_buf_free(this); }
    Bytes(const Bytes &) = delete;
    Slice slice() const { return isola_buf_slice(this); }
};

Slice as_slice(const std::string &s)
{
    return isola_slice(s.data(), s.size());
}

void get_frame(Info info)
{
    info.GetReturnValue().Set(
        info.GetIsolate()->GetContinuationPreservedEmbedderDataV2().As<v8::Value>());
}

void set_frame(Info info)
{
    info.GetIsolate()->SetContinuationPreservedEmbedderDataV2(info[0]);
}

// send(frame, kind, dst, event, args | undefined, timeout | sub) → id or, for EMIT, boolean
void send(Info info)
{
    Call call(info);
    int kind = static_cast<int>(call.number(1));
    std::string dst = utf8(call.isolate, info[2]), event = utf8(call.isolate, info[3]);
    Bytes args;
    if (info[4]->IsArray() && !encode(&call.js, info[4], Wrap::Value, &args))
        return; // thrown
    isola_v8_send s{};
    s.actor = call.frame_field(0, "actor");
    s.turn = call.frame_field(0, "turn");
    s.kind = kind;
    s.dst = as_slice(dst);
    s.event = as_slice(event);
    s.args = args.slice();
    if (kind == ISOLA_MSG_UNSUB)
        s.sub = static_cast<uint64_t>(call.integer(5));
    else
        s.timeout_ms = call.number(5);
    uint64_t id = 0;
    isola_err err{};
    int r = call.js.v->ops->send(call.js.v->arg, &s, &id, &err);
    if (r != 0) {
        call.isolate->ThrowException(make_error(call.isolate, isola_error_name(r), err.text));
        return;
    }
    if (kind == ISOLA_MSG_EMIT)
        info.GetReturnValue().Set(id != 0);
    else
        info.GetReturnValue().Set(static_cast<double>(id));
}

// publish(actor, event, args) → is there anyone who hears it
void publish(Info info)
{
    Call call(info);
    const isola_v8 *v = call.js.v;
    std::string event = utf8(call.isolate, info[1]);
    bool heard = v->ops->heard(v->arg, call.number(0), as_slice(event));
    info.GetReturnValue().Set(heard);
    Bytes args;
    if (heard && encode(&call.js, info[2], Wrap::Value, &args))
        v->ops->publish(v->arg, call.number(0), as_slice(event), args.slice());
}

// done(actor, turn, ok, value)
void done(Info info)
{
    Call call(info);
    const isola_v8 *v = call.js.v;
    Bytes args;
    bool ok = info[2]->IsTrue();
    if (ok) {
        v8::TryCatch caught(call.isolate);
        if (!encode(&call.js, info[3], Wrap::ArgsOfOne, &args)) {
            if (caught.HasTerminated())
                return;
            ok = false;
            args.len = 0;
            encode_error(&call.js, caught.Exception(), &args);
        }
    } else {
        encode_error(&call.js, info[3], &args);
    }
    v->ops->done(v->arg, call.number(0), call.number(1), ok, args.slice());
}

// activated(actor, ok, error)
void activated(Info info)
{
    Call call(info);
    const isola_v8 *v = call.js.v;
    Bytes error;
    if (!info[1]->IsTrue())
        encode_error(&call.js, info[2], &error);
    v->ops->activated(v->arg, call.number(0), error.slice());
}

// crash(actor, error)
void crash(Info info)
{
    Call call(info);
    std::string what = describe(&call.js, info[1]);
    call.js.v->ops->crash(call.js.v->arg, call.number(0), as_slice(what));
}

// log(actor, level, text)
void log_line(Info info)
{
    Call call(info);
    std::string line = utf8(call.isolate, info[2], kSaidMax);
    call.js.v->ops->log(call.js.v->arg, call.number(0),
                        static_cast<isola_log_level>(call.number(1)), as_slice(line));
}

// timerSet(frame, ms, repeat) → id
void timer_set(Info info)
{
    Call call(info);
    uint64_t id = call.js.v->ops->timer_set(call.js.v->arg, call.frame_field(0, "actor"),
                                            call.number(1), info[2]->IsTrue());
    info.GetReturnValue().Set(static_cast<double>(id));
}

void timer_clear(Info info)
{
    Call call(info);
    call.js.v->ops->timer_clear(call.js.v->arg, static_cast<uint64_t>(call.integer(0)));
}

// touch(what): see lib/runtime/watch.js
void touch_text(Info info)
{
    touch(from(info.GetIsolate()), utf8(info.GetIsolate(), info[0], 200).c_str());
}

// tick(): call the hook `tick` before the next microtask
void tick(Info info)
{
    from(info.GetIsolate())->ticks = true;
}

void encode_value(Info info)
{
    Call call(info);
    Bytes bytes;
    if (!encode(&call.js, info[0], Wrap::ArgsOfOne, &bytes))
        return;
    v8::Local<v8::ArrayBuffer> buffer;
    if (!v8::ArrayBuffer::MaybeNew(call.isolate, bytes.len).ToLocal(&buffer))
        return;
    memcpy(buffer->Data(), bytes.data, bytes.len);
    info.GetReturnValue().Set(buffer);
}

void decode_value(Info info)
{
    Call call(info);
    if (!info[0]->IsArrayBuffer())
        return;
    auto buffer = info[0].As<v8::ArrayBuffer>();
    v8::Local<v8::Value> value, first;
    if (decode(&call.js, isola_slice(buffer->Data(), buffer->ByteLength())).ToLocal(&value) &&
        value->IsArray() && value.As<v8::Array>()->Get(call.js.context, 0).ToLocal(&first))
        info.GetReturnValue().Set(first);
}

const Native functions[] = {{"frame", get_frame},     {"setFrame", set_frame},
                            {"send", send},           {"publish", publish},
                            {"done", done},           {"activated", activated},
                            {"crash", crash},         {"log", log_line},
                            {"timerSet", timer_set},  {"timerClear", timer_clear},
                            {"encode", encode_value}, {"decode", decode_value},
                            {"touch", touch_text},    {"tick", tick}};

} // namespace

const NativeGroup runtime_natives = {"runtime", functions,
                                     sizeof(functions) / sizeof(functions[0])};

} // namespace isola
