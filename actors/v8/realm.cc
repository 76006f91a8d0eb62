// SPDX-License-Identifier: Apache-2.0
//
// An isolate's life, and entering it.
#include "actors/v8/realm.h"

#include "actors/v8/internal.hh"
#include "actors/v8/runs.hh"
#include "base/clock.h"
#include "base/hash.h"
#include "base/msgpack.h"

namespace isola
{

v8::Local<v8::String> text(v8::Isolate *isolate, Slice s, v8::NewStringType how)
{
    v8::Local<v8::String> value;
    if (s.len > static_cast<size_t>(v8::String::kMaxLength) ||
        !v8::String::NewFromUtf8(isolate, reinterpret_cast<const char *>(s.data), how,
                                 static_cast<int>(s.len))
             .ToLocal(&value))
        return v8::String::Empty(isolate);
    return value;
}

bool ascii_only(Slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] >= 0x80)
            return false;
    return true;
}

v8::MaybeLocal<v8::ArrayBuffer> copied(v8::Isolate *isolate, Slice s)
{
    v8::Local<v8::ArrayBuffer> buffer;
    if (!v8::ArrayBuffer::MaybeNew(isolate, s.len,
                                   v8::BackingStoreInitializationMode::kUninitialized)
             .ToLocal(&buffer))
        return {};
    if (s.len > 0)
        copy_long(static_cast<uint8_t *>(buffer->Data()), s.data, s.len);
    return buffer;
}

std::string utf8(v8::Isolate *isolate, v8::Local<v8::Value> value, size_t max)
{
    v8::TryCatch quiet(isolate);
    v8::Local<v8::String> said;
    const isola_v8 *v = from(isolate);
    if (v != nullptr && ending(v) && !value.IsEmpty() && !value->IsString())
        return {};
    if (value.IsEmpty() || !value->ToString(isolate->GetCurrentContext()).ToLocal(&said))
        return {};
    // Three bytes for each unit are always enough: the exact length, which means reading it all,
    // matters for long ones alone.
    size_t units = static_cast<size_t>(said->Length());
    size_t n = units * 3 <= max ? units * 3 : said->Utf8LengthV2(isolate);
    std::string text(n < max ? n : max, '\0');
    text.resize(said->WriteUtf8V2(isolate, text.data(), text.size(),
                                  v8::String::WriteFlags::kReplaceInvalidUtf8));
    return text;
}

v8::Local<v8::Value> make_error(v8::Isolate *isolate, const char *code, const char *message)
{
    v8::Local<v8::Value> error = v8::Exception::Error(text(isolate, message));
    (void)error.As<v8::Object>()
        ->CreateDataProperty(isolate->GetCurrentContext(), text(isolate, "code"),
                             text(isolate, code))
        .FromMaybe(false); // scripts are being ended
    return error;
}

Frame frame_of(v8::Isolate *isolate, v8::Local<v8::Value> value)
{
    if (value->IsObject() && !value.As<v8::Object>()
                                  ->Get(isolate->GetCurrentContext(), text(isolate, "frame"))
                                  .ToLocal(&value))
        return {0, 0};
    if (!value->IsNumber())
        return {0, 0};
    auto number = static_cast<uint64_t>(value.As<v8::Number>()->Value());
    auto turns = static_cast<uint64_t>(Frame::kTurns);
    return {static_cast<uint32_t>(number / turns), static_cast<uint32_t>(number % turns)};
}

Frame current_frame(v8::Isolate *isolate)
{
    return frame_of(isolate, isolate->GetContinuationPreservedEmbedderDataV2().As<v8::Value>());
}

void set_frame(v8::Isolate *isolate, uint32_t actor, uint32_t turn)
{
    isolate->SetContinuationPreservedEmbedderDataV2(
        v8::Number::New(isolate, Frame::number(actor, turn)));
}

Utf8::Utf8(v8::Isolate *isolate, v8::Local<v8::Value> value)
{
    constexpr size_t most = 3; // bytes of UTF-8 for a unit of a JavaScript string
    if (value->IsString() &&
        static_cast<size_t>(value.As<v8::String>()->Length()) * most <= sizeof(small_)) {
        size_t n = value.As<v8::String>()->WriteUtf8V2(isolate, small_, sizeof(small_),
                                                       v8::String::WriteFlags::kReplaceInvalidUtf8);
        slice_ = isola_slice(small_, n);
    } else {
        big_ = utf8(isolate, value);
        slice_ = isola_slice(big_.data(), big_.size());
    }
}

// A promise was rejected without a handler, or got one after all.
static void on_rejection(v8::PromiseRejectMessage message)
{
    v8::Local<v8::Promise> promise = message.GetPromise();
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    isola_v8 *v = from(isolate);
    if (v == nullptr)
        return;
    if (message.GetEvent() == v8::kPromiseRejectWithNoHandler) {
        v->rejection_index.emplace(promise->GetIdentityHash(), v->rejections.size());
        v->rejections.push_back(
            {{isolate, promise}, {isolate, message.GetValue()}, current_frame(isolate).actor});
    } else if (message.GetEvent() == v8::kPromiseHandlerAddedAfterReject &&
               !v->rejections.empty()) {
        auto [at, end] = v->rejection_index.equal_range(promise->GetIdentityHash());
        for (; at != end; ++at) {
            isola_v8::Rejection &r = v->rejections[at->second];
            if (r.promise != promise)
                continue;
            r.promise.Reset();
            r.reason.Reset();
            v->rejection_index.erase(at);
            break;
        }
    }
}

static void count_collection(v8::Isolate *isolate, v8::GCType, v8::GCCallbackFlags)
{
    if (isola_v8 *v = from(isolate))
        v->collections++;
}

void set_callbacks(v8::Isolate *isolate)
{
    isolate->AddGCEpilogueCallback(count_collection);
    isolate->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
    isolate->SetPromiseRejectCallback(on_rejection);
    set_module_callbacks(isolate);
    set_stack_callback(isolate);
}

void run_ticks(isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    do {
        if (ending(js->v))
            return;
        if (js->v->ticks) {
            v8::HandleScope scope(isolate);
            v8::TryCatch caught(isolate); // the hook catches all but the end of the script
            js->v->ticks = false;
            if (js->v->hooks[HOOK_TICK]
                    .Get(isolate)
                    ->Call(js->context, v8::Undefined(isolate), 0, nullptr)
                    .IsEmpty())
                js->v->ticks = false;
        }
        isolate->PerformMicrotaskCheckpoint();
    } while (js->v->ticks);
}

void after_entry(isola_js *js)
{
    isola_v8 *v = js->v;
    v8::Isolate *isolate = js->isolate();
    run_ticks(js);
    while (!v->rejections.empty() && !ending(v)) {
        v8::HandleScope scope(isolate);
        std::vector<isola_v8::Rejection> unhandled;
        unhandled.swap(v->rejections);
        v->rejection_index.clear();
        for (auto &r : unhandled) {
            if (r.promise.IsEmpty())
                continue;
            if (ending(v))
                return;
            std::string what = describe(js, r.reason.Get(isolate));
            v->ops->crash(v->arg, r.actor, isola_slice(what.data(), what.size()));
        }
        run_ticks(js);
    }
    isolate->SetContinuationPreservedEmbedderDataV2(v8::Undefined(isolate));
    if (!ending(v))
        drain(js, true);
}

v8::MaybeLocal<v8::Value> state_of(isola_js *js, const v8::Global<v8::Object> &holder)
{
    v8::Isolate *isolate = js->isolate();
    auto &name = js->v->state_name;
    if (name.IsEmpty())
        name.Reset(isolate, v8::String::NewFromUtf8Literal(isolate, "state",
                                                           v8::NewStringType::kInternalized));
    return holder.Get(isolate)->Get(js->context, name.Get(isolate));
}

v8::MaybeLocal<v8::Value> enter_hook(isola_js *js, Hook hook, uint32_t actor, int argc,
                                     v8::Local<v8::Value> argv[])
{
    v8::Isolate *isolate = js->isolate();
    v8::TryCatch caught(isolate);
    auto result =
        js->v->hooks[hook].Get(isolate)->Call(js->context, v8::Undefined(isolate), argc, argv);
    if (caught.HasCaught() && !caught.HasTerminated()) {
        std::string what = describe(js, caught.Exception());
        js->v->ops->crash(js->v->arg, actor != 0 ? actor : current_frame(isolate).actor,
                          isola_slice(what.data(), what.size()));
    }
    return result;
}

v8::MaybeLocal<v8::Value> call_hook(isola_js *js, Hook hook, uint32_t actor, int argc,
                                    v8::Local<v8::Value> argv[])
{
    v8::MaybeLocal<v8::Value> result = enter_hook(js, hook, actor, argc, argv);
    after_entry(js);
    return result;
}

} // namespace isola

using namespace isola;

extern "C" {

static void begin_to_live(isola_v8 *v)
{
    v->born_ms = static_cast<double>(isola_clock_ns()) / 1e6;
    v->born_wall_ms = static_cast<double>(isola_clock_wall_ms());
}

void isola_v8_adopt(struct isola_v8 *v, void *arg)
{
    v->arg = arg;
    begin_to_live(v);
    adopt_tasks(v->tasks.get(), v->ops, arg);
}

int isola_v8_open(const struct isola_v8_ops *ops, void *arg, struct isola_v8_limits limits,
                  const struct isola_v8_image *image, struct isola_v8 **out, struct isola_err *err)
{
    auto *v = new isola_v8{ops, arg, make_tasks(arg != nullptr ? ops : nullptr, arg)};
    begin_to_live(v);
    v->guard.quota = std::make_shared<Quota>(limits.external);
    v->shared = limits.shared;
    v->isolate = new_isolate(v->tasks.get(), limits, image, v->guard.quota);
    v->isolate->SetData(0, v);
    arm_limits(v);
    bool ok;
    {
        v8::Locker lock(v->isolate);
        v8::Isolate::Scope entered(v->isolate);
        v8::HandleScope scope(v->isolate);
        set_callbacks(v->isolate);
        v8::Local<v8::Context> context = v8::Context::New(v->isolate);
        v->context.Reset(v->isolate, context);
        v8::Context::Scope in(context);
        isola_js js{v, context};
        // V8 adds it to each new context, and there is no flag against it.
        ok = context->Global()->Delete(context, text(v->isolate, "WebAssembly")).FromMaybe(false) &&
             revive(&js) && grow_ring(&js, limits.batch);
    }
    if (!ok) {
        isola_v8_close(v);
        return isola_fail(err, ISOLA_ESCRIPT, "the runtime is not in the snapshot");
    }
    *out = v;
    return 0;
}

void isola_v8_close(struct isola_v8 *v)
{
    {
        v8::Locker lock(v->isolate);
        v8::Isolate::Scope entered(v->isolate);
        v8::HandleScope scope(v->isolate);
        end_profiling(v);
        disarm_limits(v);
        forget_handles(v);
    }
    dispose_isolate(v->isolate);
    delete v;
}

void isola_v8_visit(struct isola_v8 *v, void (*fn)(struct isola_js *js, void *arg), void *arg)
{
    v8::Locker lock(v->isolate);
    v8::Isolate::Scope entered(v->isolate);
    v8::HandleScope scope(v->isolate);
    v8::Local<v8::Context> context = v->context.Get(v->isolate);
    v8::Context::Scope in(context);
    isola_js js{v, context};
    fn(&js, arg);
}

// Decodes an args array.
static v8::MaybeLocal<v8::Value> args_of(isola_js *js, struct isola_slice args)
{
    v8::Local<v8::Array> values;
    if (args.len == 0)
        return v8::Array::New(js->isolate(), 0).As<v8::Value>();
    if (!decode_args(js, args).ToLocal(&values))
        return {};
    return values.As<v8::Value>();
}

// An event whose values cannot be read is dropped, and the actor never hears of it.
static void refuse(isola_js *js, uint32_t actor, uint32_t turn)
{
    static const uint8_t nil[] = {0x91, 0xc0}; // [nil]
    js->v->ops->log(js->v->arg, actor, ISOLA_LOG_WARN, isola_slice_str(kMalformed));
    js->v->ops->done(js->v->arg, actor, turn, true, isola_slice(nil, sizeof(nil)), nullptr);
}

static v8::Local<v8::Value> uint_of(isola_js *js, uint32_t n)
{
    return v8::Integer::NewFromUnsigned(js->isolate(), n);
}

void isola_js_activate(struct isola_js *js, uint32_t actor, struct isola_slice app,
                       struct isola_slice type, struct isola_slice key, struct isola_slice state,
                       struct isola_slice no_state, struct isola_slice from)
{
    Entry in(js, actor, 0);
    if (!in)
        return;
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::Local<v8::Value> stored = v8::Undefined(isolate);
    if (state.len > 0 && !decode(js, state).ToLocal(&stored)) {
        isola_buf failure{};
        isola_mp_array(&failure, 1);
        isola_mp_error(&failure, ISOLA_EIO, "its stored state cannot be read", nullptr);
        js->v->ops->activated(js->v->arg, actor, isola_buf_slice(&failure));
        isola_buf_free(&failure);
        return;
    }
    v8::Local<v8::Value> argv[] = {uint_of(js, actor),
                                   text(isolate, app, v8::NewStringType::kInternalized),
                                   text(isolate, type, v8::NewStringType::kInternalized),
                                   text(isolate, key),
                                   stored,
                                   v8::Undefined(isolate),
                                   v8::Undefined(isolate)};
    if (no_state.len > 0)
        argv[5] = text(isolate, no_state);
    if (from.data != nullptr && from.len == 0)
        argv[6] = v8::Null(isolate);
    else if (from.data != nullptr)
        argv[6] = text(isolate, from);
    set_frame(isolate, actor, 0);
    if (call_hook(js, HOOK_ACTIVATE, actor, 7, argv).IsEmpty() && !ending(js->v)) {
        isola_buf failure{};
        isola_mp_array(&failure, 1);
        isola_mp_error(&failure, ISOLA_ESCRIPT, "the script broke the runtime around it", nullptr);
        js->v->ops->activated(js->v->arg, actor, isola_buf_slice(&failure));
        isola_buf_free(&failure);
    }
}

void isola_js_deactivate(struct isola_js *js, uint32_t actor)
{
    Entry in(js, actor, 0);
    if (!in)
        return;
    v8::HandleScope scope(js->isolate());
    v8::Local<v8::Value> argv[] = {uint_of(js, actor)};
    forget_stored(js->v, actor);
    js->v->lone.forget(actor);
    js->v->holders.erase(actor);
    (void)call_hook(js, HOOK_DEACTIVATE, 0, 1, argv);
}

void isola_js_hibernate(struct isola_js *js, uint32_t actor, uint32_t turn)
{
    Entry in(js, actor, turn);
    if (!in)
        return;
    v8::HandleScope scope(js->isolate());
    v8::Local<v8::Value> argv[] = {uint_of(js, actor), uint_of(js, turn)};
    set_frame(js->isolate(), actor, turn);
    (void)call_hook(js, HOOK_HIBERNATE, actor, 2, argv);
}

void isola_js_event(struct isola_js *js, uint32_t actor, uint32_t turn, uint64_t sub,
                    struct isola_slice args)
{
    Entry in(js, actor, turn);
    if (!in)
        return;
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::Local<v8::Value> values;
    if (!args_of(js, args).ToLocal(&values)) {
        refuse(js, actor, turn);
        return;
    }
    v8::Local<v8::Value> argv[] = {uint_of(js, actor), uint_of(js, turn),
                                   v8::Number::New(isolate, static_cast<double>(sub)), values};
    set_frame(isolate, actor, turn);
    (void)call_hook(js, HOOK_EVENT, actor, 4, argv);
}

// Calls a hook about an ask.
static void call_about(isola_js *js, Hook hook, uint32_t actor, uint64_t ask)
{
    Entry in(js, actor, 0);
    if (!in)
        return;
    v8::HandleScope scope(js->isolate());
    v8::Local<v8::Value> argv[] = {uint_of(js, ISOLA_ASK_SLOT(ask)),
                                   uint_of(js, static_cast<uint32_t>(ask >> ISOLA_ASK_SLOT_BITS))};
    (void)call_hook(js, hook, 0, 2, argv);
}

void isola_js_expire(struct isola_js *js, uint32_t actor, uint64_t id)
{
    call_about(js, HOOK_EXPIRE, actor, id);
}

void isola_js_cancelled(struct isola_js *js, uint32_t actor, uint64_t id)
{
    call_about(js, HOOK_CANCELLED, actor, id);
}

void isola_js_drop_ask(struct isola_js *js, uint32_t actor, uint64_t id)
{
    call_about(js, HOOK_DROP_ASK, actor, id);
}

void isola_js_abort(struct isola_js *js, uint32_t actor, uint32_t turn, int code)
{
    Entry in(js, actor, turn);
    if (!in)
        return;
    v8::HandleScope scope(js->isolate());
    v8::Local<v8::Value> argv[] = {uint_of(js, actor), uint_of(js, turn),
                                   text(js->isolate(), isola_error_name(code))};
    set_frame(js->isolate(), actor, turn);
    (void)call_hook(js, HOOK_ABORT, actor, 3, argv);
}

void isola_js_timer(struct isola_js *js, uint32_t actor, uint64_t id)
{
    Entry in(js, actor, 0);
    if (!in)
        return;
    v8::HandleScope scope(js->isolate());
    v8::Local<v8::Value> argv[] = {v8::Number::New(js->isolate(), static_cast<double>(id))};
    (void)call_hook(js, HOOK_TIMER, 0, 1, argv);
}

void isola_js_io(struct isola_js *js, uint32_t actor, uint64_t id, bool last,
                 struct isola_slice head, struct isola_slice body)
{
    Entry in(js, actor, 0);
    if (!in)
        return;
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::Local<v8::ArrayBuffer> buffer;
    v8::Local<v8::Value> bytes = v8::Undefined(isolate), said = bytes;
    if (body.len > 0 && copied(isolate, body).ToLocal(&buffer))
        bytes = buffer;
    else if (body.len > 0) /* no room for it: its script is told, and nobody else */
        bytes = v8::Null(isolate);
    if (head.len > 0)
        said = text(isolate, head);
    v8::Local<v8::Value> argv[] = {v8::Number::New(isolate, static_cast<double>(id)),
                                   v8::Boolean::New(isolate, last), said, bytes};
    (void)call_hook(js, HOOK_IO, 0, 4, argv);
}

bool isola_js_stream(struct isola_js *js, uint32_t actor, struct isola_slice src, bool ended,
                     struct isola_slice args)
{
    Entry in(js, actor, 0);
    if (!in)
        return false;
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::Local<v8::Value> values, known;
    if (!args_of(js, args).ToLocal(&values))
        return false;
    v8::Local<v8::Value> argv[] = {uint_of(js, ended ? kStreamEnded : kStreamSaid),
                                   uint_of(js, actor), text(isolate, src), values};
    set_frame(isolate, actor, 0);
    return call_hook(js, HOOK_STREAM, actor, 4, argv).ToLocal(&known) && known->IsTrue();
}

void isola_js_tasks(struct isola_js *js)
{
    Entry in(js, 0, 0);
    if (!in)
        return;
    v8::HandleScope scope(js->isolate());
    run_tasks(js->v->tasks.get());
    after_entry(js);
}

int isola_js_state(struct isola_js *js, uint32_t actor, struct isola_buf *out, bool *touched,
                   struct isola_err *err)
{
    Entry in(js, actor, 0);
    if (!in)
        return isola_fail(err, ISOLA_ECLOSED, "its isolate has ended");
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(isolate);
    isola_v8 *v = js->v;
    auto at = v->holders.find(actor);
    *touched = at != v->holders.end();
    if (!*touched)
        return 0;
    v8::Local<v8::Value> state;
    if (!state_of(js, at->second).ToLocal(&state) || !encode(js, state, Wrap::State, out))
        return isola_fail(err, ISOLA_ECLONE, "%s", utf8(isolate, caught.Exception()).c_str());
    return 0;
}

size_t isola_js_heap(struct isola_js *js)
{
    v8::HeapStatistics stats;
    js->isolate()->GetHeapStatistics(&stats);
    return stats.used_heap_size();
}

} // extern "C"
