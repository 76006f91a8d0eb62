// SPDX-License-Identifier: Apache-2.0
//
// Durable timers, as far as V8 is concerned: what lib/runtime/schedule.js gets from C, and when a
// cron expression comes next, which lib/runtime/cron.js knows. Scripts cannot reach these
// functions.
#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

uint32_t serial_of(Info info)
{
    return info[0]->IsUint32() ? info[0].As<v8::Uint32>()->Value() : 0;
}

// A whole number from 0 on that a double has exactly.
uint64_t whole(v8::Local<v8::Value> value)
{
    double n = value->IsNumber() ? value.As<v8::Number>()->Value() : 0;
    return n >= 1 && n <= 9007199254740991.0 ? static_cast<uint64_t>(n) : 0;
}

void fail(v8::Isolate *isolate, int code, const isola_err &err)
{
    isolate->ThrowException(make_error(isolate, isola_error_name(code), err.text));
}

// set(actor, id or undefined, event, due, every, start, cron or undefined, zone, args) → its id
void set(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_js js{from(isolate), isolate->GetCurrentContext()};
    Scratch args(&js);
    if (!encode(&js, info[8], Wrap::Value, args.buf()))
        return; // thrown
    drain(&js);
    v8::Local<v8::Value> none = v8::String::Empty(isolate);
    auto or_none = [none](v8::Local<v8::Value> v) { return v->IsString() ? v : none; };
    Utf8 id(isolate, or_none(info[1])), event(isolate, info[2]);
    Utf8 cron(isolate, or_none(info[6])), zone(isolate, or_none(info[7]));
    isola_v8_timer timer{};
    timer.id = id.slice();
    timer.event = event.slice();
    timer.args = args.slice();
    timer.due = whole(info[3]);
    timer.every = whole(info[4]);
    timer.start = whole(info[5]);
    timer.cron = cron.slice();
    timer.zone = zone.slice();
    isola_buf given{};
    isola_err err{};
    int r = js.v->ops->schedule(js.v->arg, serial_of(info), &timer, &given, &err);
    if (r != 0)
        fail(isolate, r, err);
    else
        info.GetReturnValue().Set(text(isolate, isola_buf_slice(&given)));
    isola_buf_free(&given);
}

// cancel(actor, id) → was it there
void cancel(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_v8 *v = from(isolate);
    Utf8 id(isolate, info[1]);
    bool was = false;
    isola_err err{};
    int r = v->ops->unschedule(v->arg, serial_of(info), id.slice(), &was, &err);
    if (r != 0)
        fail(isolate, r, err);
    else
        info.GetReturnValue().Set(was);
}

struct List {
    isola_js *js;
    std::vector<v8::Local<v8::Value>> timers;
};

void put(isola_js *js, v8::Local<v8::Object> to, const char *name, v8::Local<v8::Value> value)
{
    (void)to->CreateDataProperty(js->context, text(js->isolate(), name), value).FromMaybe(false);
}

void list_one(void *ctx, const isola_v8_timer *timer)
{
    List *list = static_cast<List *>(ctx);
    isola_js *js = list->js;
    v8::Isolate *isolate = js->isolate();
    auto number = [isolate](uint64_t n) {
        return v8::Number::New(isolate, static_cast<double>(n));
    };
    v8::Local<v8::Object> t = v8::Object::New(isolate);
    v8::Local<v8::Array> args;
    put(js, t, "id", text(isolate, timer->id));
    put(js, t, "event", text(isolate, timer->event));
    put(js, t, "next", number(timer->due));
    if (timer->every > 0)
        put(js, t, "every", number(timer->every));
    if (timer->cron.len > 0) {
        put(js, t, "cron", text(isolate, timer->cron));
        put(js, t, "timeZone", text(isolate, timer->zone));
    }
    if (decode_args(js, timer->args).ToLocal(&args))
        put(js, t, "args", args);
    list->timers.push_back(t);
}

// list(actor) → [{ id, event, next, every?, cron?, timeZone?, args }], in no order
void list(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_js js{from(isolate), isolate->GetCurrentContext()};
    List list{&js, {}};
    isola_err err{};
    int r = js.v->ops->schedules(js.v->arg, serial_of(info), list_one, &list, &err);
    if (r != 0)
        fail(isolate, r, err);
    else
        info.GetReturnValue().Set(v8::Array::New(isolate, list.timers.data(), list.timers.size()));
}

// Empty: thrown.
v8::MaybeLocal<v8::Function> cron_function(isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    if (!js->v->cron.IsEmpty())
        return js->v->cron.Get(isolate);
    v8::Local<v8::Value> argv[] = {text(isolate, "isola/cron"), v8::Integer::New(isolate, -1)};
    v8::Local<v8::Value> part, next;
    if (!js->v->hooks[HOOK_LAZY]
             .Get(isolate)
             ->Call(js->context, v8::Undefined(isolate), 2, argv)
             .ToLocal(&part) ||
        !part->IsObject() ||
        !part.As<v8::Object>()->Get(js->context, text(isolate, "next")).ToLocal(&next) ||
        !next->IsFunction())
        return {};
    js->v->cron.Reset(isolate, next.As<v8::Function>());
    return next.As<v8::Function>();
}

v8::MaybeLocal<v8::Value> cron_next(isola_js *js, v8::Local<v8::Value> cron,
                                    v8::Local<v8::Value> zone, v8::Local<v8::Value> after)
{
    v8::Local<v8::Function> next;
    v8::Local<v8::Value> argv[] = {cron, zone, after};
    if (!cron_function(js).ToLocal(&next))
        return {};
    return next->Call(js->context, v8::Undefined(js->isolate()), 3, argv);
}

// next(cron, zone, after) → the first time after it, or 0; throws what is wrong with the expression
void next(Info info)
{
    isola_js js{from(info.GetIsolate()), info.GetIsolate()->GetCurrentContext()};
    v8::Local<v8::Value> time;
    if (cron_next(&js, info[0], info[1], info[2]).ToLocal(&time))
        info.GetReturnValue().Set(time);
}

const Native functions[] = {{"set", set}, {"cancel", cancel}, {"list", list}, {"next", next}};

} // namespace

const NativeGroup schedule_natives = {"schedule", functions,
                                      sizeof(functions) / sizeof(functions[0])};

} // namespace isola

using namespace isola;

extern "C" uint64_t isola_js_next(struct isola_js *js, uint32_t actor, struct isola_slice cron,
                                  struct isola_slice zone, uint64_t after)
{
    uint64_t result = 0;
    Entry in(js, actor, 0);
    if (!in)
        return 0;
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(
        isolate); // what a script has broken counts as an expression that never comes
    v8::Local<v8::Value> time;
    set_frame(isolate, actor, 0);
    if (cron_next(js, text(isolate, cron), text(isolate, zone),
                  v8::Number::New(isolate, static_cast<double>(after)))
            .ToLocal(&time))
        result = whole(time);
    after_entry(js);
    return result;
}
