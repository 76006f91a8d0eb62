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
    v8::Isolate *isolate;
    isola_js js;

  private:
    Info info_;
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

// actorOf(frame) → serial, 0 when it is of none
void actor_of(Info info)
{
    info.GetReturnValue().Set(frame_of(info.GetIsolate(), info[0]).actor);
}

// send(kind, dst, event, timeout | sub, n, args) → ASK: its slot; SUB: its id; EMIT: boolean.
// args: none when n is 0, the one when it is 1, else an array.
void send(Info info)
{
    Call call(info);
    Utf8 dst(call.isolate, info[1]), event(call.isolate, info[2]);
    Frame frame = current_frame(call.isolate);
    Scratch args(&call.js);
    uint32_t n = call.number(4);
    if (n == 0)
        isola_mp_array(args.buf(), 0);
    else if (!encode(&call.js, info[5], n == 1 ? Wrap::OneArg : Wrap::Value, args.buf()))
        return; // thrown
    isola_v8_send s{};
    s.actor = frame.actor;
    s.turn = frame.turn;
    s.kind = static_cast<int>(call.number(0));
    s.dst = dst.slice();
    s.event = event.slice();
    s.args = args.slice();
    if (s.kind == ISOLA_MSG_UNSUB)
        s.sub = static_cast<uint64_t>(call.integer(3));
    else
        s.timeout_ms = call.number(3);
    uint64_t id = 0;
    isola_err err{};
    int r = call.js.v->ops->send(call.js.v->arg, &s, &id, &err);
    if (r != 0)
        call.isolate->ThrowException(make_error(call.isolate, isola_error_name(r), err.text));
    else if (s.kind == ISOLA_MSG_EMIT)
        info.GetReturnValue().Set(id != 0);
    else if (s.kind == ISOLA_MSG_ASK)
        info.GetReturnValue().Set(ISOLA_ASK_SLOT(id));
    else
        info.GetReturnValue().Set(static_cast<double>(id));
}

// cancel(slot, dst)
void cancel(Info info)
{
    Call call(info);
    Utf8 dst(call.isolate, info[1]);
    call.js.v->ops->cancel(call.js.v->arg, call.number(0), dst.slice());
}

// watch() → turn * 4 + what ops->watch says
void watch_turn(Info info)
{
    Call call(info);
    Frame frame = current_frame(call.isolate);
    int state = call.js.v->ops->watch(call.js.v->arg, frame.actor, frame.turn);
    info.GetReturnValue().Set(static_cast<double>(frame.turn) * 4 + state);
}

// runs(actor, turn)
void runs(Info info)
{
    Call call(info);
    info.GetReturnValue().Set(call.js.v->ops->runs(call.js.v->arg, call.number(0), call.number(1)));
}

// spawn(dst, mode)
void spawn(Info info)
{
    Call call(info);
    Utf8 dst(call.isolate, info[0]);
    Frame frame = current_frame(call.isolate);
    isola_err err{};
    int r = call.js.v->ops->spawn(call.js.v->arg, frame.actor, frame.turn, dst.slice(),
                                  static_cast<int>(call.number(1)), &err);
    if (r != 0)
        call.isolate->ThrowException(make_error(call.isolate, isola_error_name(r), err.text));
}

// publish(actor, event, args) → is there anyone who hears it
void publish(Info info)
{
    Call call(info);
    const isola_v8 *v = call.js.v;
    Utf8 event(call.isolate, info[1]);
    bool heard = v->ops->heard(v->arg, call.number(0), event.slice());
    info.GetReturnValue().Set(heard);
    Scratch args(&call.js);
    if (heard && encode(&call.js, info[2], Wrap::Value, args.buf()))
        v->ops->publish(v->arg, call.number(0), event.slice(), args.slice());
}

// unheard(actor, turn): its message has no handler
void unheard(Info info)
{
    Call call(info);
    call.js.v->ops->unheard(call.js.v->arg, call.number(0), call.number(1));
}

// done(actor, turn, ok, value)
void done(Info info)
{
    Call call(info);
    if (info[2]->IsTrue()) {
        report_done(&call.js, call.number(0), call.number(1), true, info[3]);
        return;
    }
    Scratch args(&call.js);
    encode_error(&call.js, info[3], args.buf());
    call.js.v->ops->done(call.js.v->arg, call.number(0), call.number(1), false, args.slice());
}

// looked(actor)
void looked(Info info)
{
    Call call(info);
    call.js.v->ops->looked(call.js.v->arg, call.number(0));
}

// activated(actor, ok, error)
void activated(Info info)
{
    Call call(info);
    const isola_v8 *v = call.js.v;
    Scratch error(&call.js);
    if (!info[1]->IsTrue())
        encode_error(&call.js, info[2], error.buf());
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

// timerSet(actor, ms, repeat) → id
void timer_set(Info info)
{
    Call call(info);
    uint64_t id = call.js.v->ops->timer_set(call.js.v->arg, call.number(0), call.number(1),
                                            info[2]->IsTrue());
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
    Scratch bytes(&call.js);
    if (!encode(&call.js, info[0], Wrap::ArgsOfOne, bytes.buf()))
        return;
    v8::Local<v8::ArrayBuffer> buffer;
    if (copied(call.isolate, bytes.slice()).ToLocal(&buffer))
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

const Native functions[] = {
    {"frame", get_frame},     {"setFrame", set_frame},  {"send", send},
    {"spawn", spawn},         {"cancel", cancel},       {"watch", watch_turn},
    {"runs", runs},           {"publish", publish},     {"unheard", unheard},
    {"done", done},           {"activated", activated}, {"crash", crash},
    {"log", log_line},        {"timerSet", timer_set},  {"timerClear", timer_clear},
    {"encode", encode_value}, {"decode", decode_value}, {"touch", touch_text},
    {"tick", tick},           {"looked", looked},       {"actorOf", actor_of}};

} // namespace

const NativeGroup runtime_natives = {"runtime", functions,
                                     sizeof(functions) / sizeof(functions[0])};

} // namespace isola
