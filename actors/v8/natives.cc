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

// actorOf(frame) → serial, 0 when it is of none
void actor_of(Info info)
{
    info.GetReturnValue().Set(frame_of(info.GetIsolate(), info[0]).actor);
}

// send(kind, dst, event, sub) → SUB: its id
void send(Info info)
{
    Call call(info);
    drain(&call.js);
    Utf8 dst(call.isolate, info[1]), event(call.isolate, info[2]);
    Frame frame = current_frame(call.isolate);
    static const uint8_t none[] = {0x90};
    isola_v8_send s{};
    s.actor = frame.actor;
    s.turn = frame.turn;
    s.kind = static_cast<int>(call.number(0));
    s.dst = dst.slice();
    s.event = event.slice();
    s.args = isola_slice(none, sizeof(none));
    s.id = static_cast<uint64_t>(call.integer(3));
    uint64_t id = 0;
    isola_err err{};
    int r = call.js.v->ops->send(call.js.v->arg, &s, &id, &err);
    if (r != 0)
        call.isolate->ThrowException(make_error(call.isolate, isola_error_name(r), err.text));
    else
        info.GetReturnValue().Set(static_cast<double>(id));
}

// durable(kind, dst, event, value, n, slot, number, ms) → has its sender room for more? n as in
// encodeNext; the last three of an ask
void durable(Info info)
{
    Call call(info);
    touch(call.js.v, "it sends messages while it loads");
    Scratch args(&call.js);
    if (!encode(&call.js, info[3], call.integer(4) == 1 ? Wrap::OneArg : Wrap::Value, args.buf()))
        return; // thrown
    drain(&call.js);
    Utf8 dst(call.isolate, info[1]), event(call.isolate, info[2]);
    Frame frame = current_frame(call.isolate);
    isola_v8_send s{};
    s.actor = frame.actor;
    s.turn = frame.turn;
    s.kind = static_cast<int>(call.number(0));
    s.durable = true;
    s.dst = dst.slice();
    s.event = event.slice();
    s.args = args.slice();
    s.timeout_ms = call.number(7);
    s.id = static_cast<uint64_t>(call.number(6)) << ISOLA_ASK_SLOT_BITS | call.number(5);
    uint64_t congested = 0;
    isola_err err{};
    int r = call.number(5) >> ISOLA_ASK_SLOT_BITS != 0
                ? isola_fail(&err, ISOLA_EOVERLOAD, "too many asks are under way")
                : call.js.v->ops->send(call.js.v->arg, &s, &congested, &err);
    if (r != 0)
        call.isolate->ThrowException(make_error(call.isolate, isola_error_name(r), err.text));
    else
        info.GetReturnValue().Set(congested == 0);
}

// refer(address) → its number, until [EPOCH] changes; throws EPERM
void refer(Info info)
{
    Call call(info);
    Ring &ring = call.js.v->ring;
    drain(&call.js); // the numbers in it must not change
    Utf8 address(call.isolate, info[0]);
    uint32_t epoch = static_cast<uint32_t>(ring.ints[Ring::kEpoch]);
    isola_err err{};
    uint32_t number = call.js.v->ops->refer(call.js.v->arg, address.slice(), &epoch, &err);
    ring.ints[Ring::kEpoch] = static_cast<int32_t>(epoch);
    if (number != 0)
        info.GetReturnValue().Set(number);
    else
        call.isolate->ThrowException(
            make_error(call.isolate, isola_error_name(err.code), err.text));
}

// congested(to)
void congested(Info info)
{
    Call call(info);
    info.GetReturnValue().Set(call.js.v->ops->congested(call.js.v->arg, call.number(0)));
}

// pace(address, slot, number): an ask that is answered when the receiver is not congested any more
void pace(Info info)
{
    Call call(info);
    drain(&call.js);
    Utf8 address(call.isolate, info[0]);
    Frame frame = current_frame(call.isolate);
    uint64_t id = static_cast<uint64_t>(call.number(2)) << ISOLA_ASK_SLOT_BITS | call.number(1);
    call.js.v->ops->pace(call.js.v->arg, frame.actor, id, address.slice());
}

/* --- the ring (lib/runtime/ring.js) --- */

void drain_ring(Info info)
{
    Call call(info);
    drain(&call.js);
}

// number(name) → of an event; 0: it gets none
void number_of(Info info)
{
    Call call(info);
    Ring &ring = call.js.v->ring;
    touch(call.js.v, "it sends messages while it loads");
    Utf8 name(call.isolate, info[0]);
    uint32_t number = 0;
    if (ring.told == ring.names.count()) { // else some have come that it is not told yet
        number = ring.names.number(name.slice());
        ring.told = ring.names.count();
    }
    info.GetReturnValue().Set(number);
}

// name(k) → the event of a record
void name_of(Info info)
{
    Call call(info);
    Ring &ring = call.js.v->ring;
    uint32_t k = call.number(0);
    if (k < ring.queued)
        info.GetReturnValue().Set(text(call.isolate, ring.mails[k].event));
}

// decoded(k, first) → the values of a record, or the first of them; throws EPROTO
void decoded(Info info)
{
    Call call(info);
    Ring &ring = call.js.v->ring;
    uint32_t k = call.number(0);
    v8::Local<v8::Value> value;
    v8::Local<v8::Array> values;
    if (k >= ring.queued)
        return;
    Ring::Mail mail = ring.mails[k];
    call.js.v->receiver = mail.actor;
    if (info[1]->IsTrue() && decode_first(&call.js, mail.args, mail.block).ToLocal(&value))
        info.GetReturnValue().Set(value);
    else if (!info[1]->IsTrue() && decode_args(&call.js, mail.args, mail.block).ToLocal(&values))
        info.GetReturnValue().Set(values);
    call.js.v->receiver = 0;
    if (value.IsEmpty() && values.IsEmpty())
        call.isolate->ThrowException(make_error(call.isolate, "EPROTO", kMalformed));
}

// encodeNext(value, n, name): for the record that is put next. `n`: so many arguments, an array
// when they are not one; -1: an error; -2: what a turn ends with.
void encode_next(Info info)
{
    Call call(info);
    Scratch bytes(&call.js);
    int64_t n = call.integer(1);
    isola_buf_extend(bytes.buf(), ISOLA_MSG_BEFORE);
    if (n == -1)
        encode_error(&call.js, info[0], bytes.buf());
    else if (!encode(&call.js, info[0],
                     n == 1    ? Wrap::OneArg
                     : n == -2 ? Wrap::ArgsOfOne
                               : Wrap::Value,
                     bytes.buf(), true))
        return; // thrown
    Utf8 name(call.isolate, info[2]);
    keep_encoded(&call.js, name.slice(), bytes.buf());
}

// checkpoint(): what a message has left to do runs before the next one
void checkpoint(Info info)
{
    Call call(info);
    run_ticks(&call.js);
}

// cancel(slot, number, dst)
void cancel(Info info)
{
    Call call(info);
    drain(&call.js);
    Utf8 dst(call.isolate, info[2]);
    uint64_t id = static_cast<uint64_t>(call.number(1)) << ISOLA_ASK_SLOT_BITS | call.number(0);
    call.js.v->ops->cancel(call.js.v->arg, id, dst.slice());
}

// watch() → turn * 4 + what ops->watch says
void watch_turn(Info info)
{
    Call call(info);
    drain(&call.js);
    Frame frame = current_frame(call.isolate);
    int state = call.js.v->ops->watch(call.js.v->arg, frame.actor, frame.turn);
    info.GetReturnValue().Set(static_cast<double>(frame.turn) * 4 + state);
}

// runs(actor, turn)
void runs(Info info)
{
    Call call(info);
    drain(&call.js);
    info.GetReturnValue().Set(call.js.v->ops->runs(call.js.v->arg, call.number(0), call.number(1)));
}

// spawn(dst, mode)
void spawn(Info info)
{
    Call call(info);
    drain(&call.js);
    Utf8 dst(call.isolate, info[0]);
    Frame frame = current_frame(call.isolate);
    isola_err err{};
    int r = call.js.v->ops->spawn(call.js.v->arg, frame.actor, frame.turn, dst.slice(),
                                  static_cast<int>(call.number(1)), &err);
    if (r != 0)
        call.isolate->ThrowException(make_error(call.isolate, isola_error_name(r), err.text));
}

// The turn that code of this actor runs in; 0: none, or it is another's code
uint32_t turn_of(v8::Isolate *isolate, uint32_t actor)
{
    Frame frame = current_frame(isolate);
    return frame.actor == actor ? frame.turn : 0;
}

// publish(actor, event, args) → is there anyone who hears it
void publish(Info info)
{
    Call call(info);
    drain(&call.js);
    const isola_v8 *v = call.js.v;
    Utf8 event(call.isolate, info[1]);
    bool heard = v->ops->heard(v->arg, call.number(0), event.slice());
    info.GetReturnValue().Set(heard);
    Scratch args(&call.js);
    if (heard && encode(&call.js, info[2], Wrap::Value, args.buf()))
        v->ops->publish(v->arg, call.number(0), turn_of(call.isolate, call.number(0)),
                        event.slice(), args.slice());
}

// trace(actor) → the trace context of what it sends now, as a W3C traceparent, or undefined
void trace(Info info)
{
    Call call(info);
    const isola_v8 *v = call.js.v;
    Scratch bytes(&call.js);
    if (!v->ops->trace(v->arg, call.number(0), turn_of(call.isolate, call.number(0)), bytes.buf()))
        return;
    const uint8_t *t = bytes.slice().data;
    char text[60], *at = text + snprintf(text, sizeof(text), "00-");
    for (int i = 0; i < ISOLA_TRACE_SIZE; i++)
        at += snprintf(at, 4, i == 15 || i == 23 ? "%02x-" : "%02x", t[i]);
    info.GetReturnValue().Set(
        v8::String::NewFromUtf8(call.isolate, text).FromMaybe(v8::Local<v8::String>()));
}

// unheard(actor, turn): its message has no handler
void unheard(Info info)
{
    Call call(info);
    call.js.v->ops->unheard(call.js.v->arg, call.number(0), call.number(1));
}

// looked(actor, holder): its state is the property "state" of that
void looked(Info info)
{
    Call call(info);
    if (!info[1]->IsObject())
        return;
    call.js.v->holders[call.number(0)].Reset(call.isolate, info[1].As<v8::Object>());
    call.js.v->ops->looked(call.js.v->arg, call.number(0));
}

// handles(actor, event, handler, self): the number of an event, and the function that is called
// for it, or the name of the method
void handles(Info info)
{
    Call call(info);
    if (info[3]->IsObject() && (info[2]->IsFunction() || info[2]->IsName()))
        call.js.v->lone.learn(&call.js, call.number(0), call.number(1), info[2],
                              info[3].As<v8::Object>());
}

// upgrades(actor): it has the hook
void upgrades(Info info)
{
    Call call(info);
    call.js.v->ops->upgrades(call.js.v->arg, call.number(0));
}

// activated(actor, ok, error)
void activated(Info info)
{
    Call call(info);
    drain(&call.js);
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
    drain(&call.js);
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

// ahead(table, size, serial, entry): the activations, of which one is given
void ahead(Info info)
{
    Call call(info);
    if (info[0]->IsArray() && info[3]->IsObject())
        call.js.v->ring.ahead.use(call.isolate, info[0].As<v8::Array>(), call.number(1),
                                  call.number(2), info[3].As<v8::Object>());
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

const Native functions[] = {{"send", send},
                            {"cancel", cancel},
                            {"publish", publish},
                            {"activated", activated},
                            {"upgrades", upgrades},
                            {"crash", crash},
                            {"log", log_line},
                            {"looked", looked},
                            {"handles", handles},
                            {"actorOf", actor_of},
                            {"refer", refer},
                            {"congested", congested},
                            {"drain", drain_ring},
                            {"number", number_of},
                            {"name", name_of},
                            {"decoded", decoded},
                            {"encodeNext", encode_next},
                            {"checkpoint", checkpoint},
                            {"unheard", unheard}};

// What few isolates use, which are not born with it.
const Native rare_functions[] = {
    {"durable", durable},     {"spawn", spawn},         {"watch", watch_turn},
    {"runs", runs},           {"timerSet", timer_set},  {"timerClear", timer_clear},
    {"encode", encode_value}, {"decode", decode_value}, {"touch", touch_text},
    {"tick", tick},           {"ahead", ahead},         {"pace", pace},
    {"trace", trace}};

} // namespace

const NativeGroup runtime_natives = {"runtime", functions,
                                     sizeof(functions) / sizeof(functions[0])};
const NativeGroup rare_natives = {"rare", rare_functions,
                                  sizeof(rare_functions) / sizeof(rare_functions[0])};

} // namespace isola
