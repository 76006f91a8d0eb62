// SPDX-License-Identifier: Apache-2.0
//
// error.stack: made when it is first read, so an error whose stack nobody reads costs what it did.
//
// Each frame is what V8 says of it, in the author's files (actors/stack.h). Frames of the runtime
// around the script are left out. Error.prepareStackTrace is called when a script has one, as V8
// does without us; it sees the places in the bundle.
#include "actors/v8/internal.hh"

namespace isola
{

std::string placed(isola_js *js, const std::string &said)
{
    isola_v8 *v = js->v;
    if (v != nullptr)
        touch(v, "it reads the stack of an error while it loads");
    if (v == nullptr || v->ops->place == nullptr || said.find("isola:") == std::string::npos)
        return said;
    isola_buf out{};
    v->ops->place(v->arg, isola_slice(said.data(), said.size()), &out);
    std::string result = out.failed || out.len == 0
                             ? said
                             : std::string(reinterpret_cast<const char *>(out.data), out.len);
    isola_buf_free(&out);
    return result;
}

namespace
{
constexpr char kRuntime[] = "isola:runtime:";
constexpr size_t kFrameMax = 4096; // bytes of one frame

// A property that should be a string; `missing` when it is undefined. False: it cannot be read.
bool read(v8::Local<v8::Context> context, v8::Local<v8::Object> o, const char *name,
          const char *missing, std::string *out)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    v8::Local<v8::Value> value;
    v8::Local<v8::String> said;
    if (!o->Get(context, text(isolate, name)).ToLocal(&value))
        return false;
    if (value->IsUndefined())
        *out = missing;
    else if (!value->ToString(context).ToLocal(&said))
        return false;
    else
        *out = utf8(isolate, said, kSaidMax);
    return true;
}

// What Error.prototype.toString says of it, without asking a script's own.
std::string header(v8::Local<v8::Context> context, v8::Local<v8::Value> error)
{
    v8::TryCatch quiet(v8::Isolate::GetCurrent());
    std::string name, message;
    if (!error->IsObject())
        return utf8(v8::Isolate::GetCurrent(), error, kSaidMax);
    auto o = error.As<v8::Object>();
    if (!read(context, o, "name", "Error", &name) || !read(context, o, "message", "", &message))
        return "<error>";
    return name.empty() ? message : message.empty() ? name : name + ": " + message;
}

// Error.prepareStackTrace of the script. False: thrown.
bool own_formatter(v8::Local<v8::Context> context, v8::Local<v8::Value> *error_function,
                   v8::Local<v8::Function> *out)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    v8::Local<v8::Value> f;
    if (!context->Global()->Get(context, text(isolate, "Error")).ToLocal(error_function))
        return false;
    if (!(*error_function)->IsObject())
        return true;
    if (!error_function->As<v8::Object>()
             ->Get(context, text(isolate, "prepareStackTrace"))
             .ToLocal(&f))
        return false;
    if (f->IsFunction())
        *out = f.As<v8::Function>();
    return true;
}

v8::MaybeLocal<v8::Value> prepare(v8::Local<v8::Context> context, v8::Local<v8::Value> error,
                                  v8::Local<v8::Array> sites)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    v8::EscapableHandleScope scope(isolate);
    isola_js js{from(isolate), context};
    if (js.v != nullptr && !js.v->formatting) { // not again for errors of the formatter itself
        v8::Local<v8::Value> error_function, made;
        v8::Local<v8::Function> formatter;
        if (!own_formatter(context, &error_function, &formatter))
            return {};
        if (!formatter.IsEmpty()) {
            v8::Local<v8::Value> argv[] = {error, sites};
            js.v->formatting = true;
            bool ok = formatter->Call(context, error_function, 2, argv).ToLocal(&made);
            js.v->formatting = false;
            return ok ? scope.Escape(made) : v8::MaybeLocal<v8::Value>();
        }
    }
    std::string stack = header(context, error);
    for (uint32_t i = 0; i < sites->Length(); i++) {
        v8::Local<v8::Value> site;
        if (!sites->Get(context, i).ToLocal(&site))
            return {};
        std::string frame = utf8(isolate, site, kFrameMax);
        if (frame.find(kRuntime) == std::string::npos)
            stack += "\n    at " + placed(&js, frame.empty() ? "<frame>" : frame);
    }
    v8::Local<v8::Value> result = text(isolate, isola_slice(stack.data(), stack.size()));
    return scope.Escape(result);
}
} // namespace

void set_stack_callback(v8::Isolate *isolate)
{
    isolate->SetPrepareStackTraceCallback(prepare);
}

namespace
{
std::string one_error(isola_js *js, v8::Local<v8::Value> error)
{
    v8::Local<v8::Value> stack;
    if (error->IsNativeError() &&
        error.As<v8::Object>()->Get(js->context, text(js->isolate(), "stack")).ToLocal(&stack) &&
        stack->IsString())
        return utf8(js->isolate(), stack, kSaidMax);
    std::string said = utf8(js->isolate(), error, kSaidMax);
    return error->IsNativeError() ? said
                                  : "threw " + (said.empty() ? "something that is no Error" : said);
}
} // namespace

namespace
{
constexpr int kWhereFrames = 10;

// Where the script is: the frames of a stack, each after a newline.
std::string frames_of_now(isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    v8::Local<v8::StackTrace> trace =
        v8::StackTrace::CurrentStackTrace(isolate, kWhereFrames, v8::StackTrace::kOverview);
    std::string frames;
    for (int i = 0; i < trace->GetFrameCount(); i++) {
        v8::Local<v8::StackFrame> f = trace->GetFrame(isolate, static_cast<uint32_t>(i));
        std::string script = utf8(isolate, f->GetScriptNameOrSourceURL(), 1000);
        std::string function = utf8(isolate, f->GetFunctionName(), 200);
        for (char &c : function)
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
                c = '?';
        if (script == "isola:runtime" || script.empty())
            continue;
        std::string place = placed(js, script + ":" + std::to_string(f->GetLineNumber()) + ":" +
                                           std::to_string(f->GetColumn()));
        frames += "\n    at " + (function.empty() ? place : function + " (" + place + ")");
    }
    return frames;
}

void note_and_end(v8::Isolate *isolate, void *)
{
    isola_v8 *v = from(isolate);
    v8::HandleScope scope(isolate);
    if (!v->stopping.exchange(false)) // the entry it was about has been left
        return;
    isola_js js{v, v->context.Get(isolate)};
    v->where = frames_of_now(&js);
    end_scripts(v, ISOLA_V8_TERMINATED);
}
} // namespace

std::string describe(isola_js *js, v8::Local<v8::Value> error)
{
    constexpr int kCauses = 8;
    v8::TryCatch quiet(js->isolate());
    if (error.IsEmpty() || ending(js->v)) // its getters would run again
        return "stopped";
    std::string said = one_error(js, error);
    v8::Local<v8::String> name = text(js->isolate(), "cause");
    for (int i = 0; i < kCauses && error->IsNativeError() && said.size() < kSaidMax; i++) {
        v8::Local<v8::Object> o = error.As<v8::Object>();
        if (!o->HasOwnProperty(js->context, name).FromMaybe(false) ||
            !o->Get(js->context, name).ToLocal(&error))
            break;
        said += "\ncaused by: " + (error->IsNativeError() ? one_error(js, error)
                                                          : utf8(js->isolate(), error, kSaidMax));
    }
    return said;
}

} // namespace isola

extern "C" void isola_v8_halt(struct isola_v8 *v)
{
    v->stopping.store(true);
    v->isolate->RequestInterrupt(isola::note_and_end, nullptr);
}

extern "C" void isola_v8_where(struct isola_v8 *v, struct isola_buf *out)
{
    isola_buf_append(out, v->where.data(), v->where.size());
    v->where.clear();
}
