// SPDX-License-Identifier: Apache-2.0
//
// Byte streams between actors, as far as V8 is concerned: what lib/runtime/streams.js gets from C,
// and the ends of streams in values (docs/wire.md). Scripts cannot reach these functions.
#include "actors/v8/natives.hh"
#include "base/msg.h"
#include "base/msgpack.h"

namespace isola
{

namespace
{

uint32_t serial_of(Info info)
{
    return info[0]->IsUint32() ? info[0].As<v8::Uint32>()->Value() : 0;
}

void fail(v8::Isolate *isolate, int code, const isola_err &err)
{
    isolate->ThrowException(make_error(isolate, isola_error_name(code), err.text));
}

// send(actor, dst, args)
void send(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_v8 *v = from(isolate);
    isola_js js{v, isolate->GetCurrentContext()};
    Scratch args(&js);
    if (!encode(&js, info[2], Wrap::Value, args.buf()))
        return; // thrown
    drain(&js);
    Utf8 dst(isolate, info[1]);
    isola_err err{};
    int r = v->ops->stream_send(v->arg, serial_of(info), dst.slice(), args.slice(), &err);
    if (r != 0)
        fail(isolate, r, err);
}

// watch(actor, dst, 0) → id; watch(actor, dst, id): not any more
void watch(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_v8 *v = from(isolate);
    isola_js js{v, isolate->GetCurrentContext()};
    drain(&js);
    Utf8 dst(isolate, info[1]);
    uint64_t id =
        info[2]->IsNumber() ? static_cast<uint64_t>(info[2].As<v8::Number>()->Value()) : 0;
    isola_err err{};
    int r = v->ops->stream_watch(v->arg, serial_of(info), dst.slice(), &id, &err);
    if (r != 0)
        fail(isolate, r, err);
    else
        info.GetReturnValue().Set(static_cast<double>(id));
}

const Native functions[] = {{"send", send}, {"watch", watch}};

v8::MaybeLocal<v8::Value> call(isola_js *js, int argc, v8::Local<v8::Value> argv[])
{
    v8::Isolate *isolate = js->isolate();
    return js->v->hooks[HOOK_STREAM].Get(isolate)->Call(js->context, v8::Undefined(isolate), argc,
                                                        argv);
}

v8::Local<v8::Value> uint(isola_js *js, uint32_t n)
{
    return v8::Integer::NewFromUnsigned(js->isolate(), n);
}

} // namespace

const NativeGroup stream_natives = {"stream", functions, sizeof(functions) / sizeof(functions[0])};

v8::MaybeLocal<v8::Value> stream_end(isola_js *js, uint32_t attempt, v8::Local<v8::Object> stream)
{
    v8::Local<v8::Value> argv[] = {uint(js, kStreamSend), uint(js, attempt), stream};
    return call(js, 3, argv);
}

bool stream_ends_sent(isola_js *js, uint32_t attempt, bool ok)
{
    v8::Local<v8::Value> argv[] = {uint(js, kStreamSent), uint(js, attempt),
                                   v8::Boolean::New(js->isolate(), ok)};
    return !call(js, 3, argv).IsEmpty();
}

v8::MaybeLocal<v8::Value> stream_of(isola_js *js, Slice payload)
{
    v8::Isolate *isolate = js->isolate();
    Reader r = isola_mp_reader(payload);
    isola_mp_item array, address, id, end, credit;
    isola_address at;
    if (js->v->receiver == 0 || isola_mp_next(&r, &array) != 0 || array.type != ISOLA_MP_ARRAY ||
        array.n != 4 || isola_mp_next(&r, &address) != 0 || address.type != ISOLA_MP_STR ||
        isola_address_parse(address.bytes, &at, nullptr) != 0 || isola_mp_next(&r, &id) != 0 ||
        id.type != ISOLA_MP_STR || id.bytes.len != kStreamId || isola_mp_next(&r, &end) != 0 ||
        end.type != ISOLA_MP_UINT || end.u > 1 || isola_mp_next(&r, &credit) != 0 ||
        credit.type != ISOLA_MP_UINT || credit.u > kStreamCredit || r.p != r.end)
        return {};
    v8::Local<v8::Value> argv[] = {uint(js, kStreamTake),
                                   uint(js, js->v->receiver),
                                   text(isolate, address.bytes),
                                   text(isolate, id.bytes),
                                   uint(js, static_cast<uint32_t>(end.u)),
                                   uint(js, static_cast<uint32_t>(credit.u))};
    return call(js, 6, argv);
}

} // namespace isola
