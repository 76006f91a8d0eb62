// SPDX-License-Identifier: Apache-2.0
//
// What V8 has in every context though no script can reach it: WebAssembly, which scripts are not
// given (docs/limits.md), and an object with V8's own console for whoever embeds it. Together fifty
// functions, each with its place in each of thousands of heaps. While the platform snapshot is
// made, what hangs on the two is taken away, and so every isolate is born without.
//
// V8 itself keeps the constructors of WebAssembly: they stay, with nothing in them. What it would
// add to it in each new context, it leaves out where a property of that name is.
#include "actors/v8/natives.hh"

#include <v8-profiler.h>

namespace isola
{
namespace
{

constexpr char kName[] = "WebAssembly", kAdded[] = "Suspending";

// Where no script has run, only V8's own is called so.
class IsWebAssembly final : public v8::QueryObjectPredicate
{
  public:
    explicit IsWebAssembly(v8::Isolate *isolate) : name_(text(isolate, kName)) {}
    bool Filter(v8::Local<v8::Object> object) override
    {
        return object->GetConstructorName()->StringEquals(name_);
    }

  private:
    v8::Local<v8::String> name_;
};

v8::Local<v8::Array> own(isola_js *js, v8::Local<v8::Object> object)
{
    v8::Local<v8::Array> names;
    return object->GetOwnPropertyNames(js->context, v8::ALL_PROPERTIES).ToLocal(&names)
               ? names
               : v8::Array::New(js->isolate());
}

void empty(isola_js *js, v8::Local<v8::Object> object)
{
    v8::Local<v8::Array> names = own(js, object);
    v8::Local<v8::Value> name;
    for (uint32_t i = 0; i < names->Length(); i++)
        if (names->Get(js->context, i).ToLocal(&name))
            (void)object->Delete(js->context, name).FromMaybe(false);
}

void empty_prototypes(isola_js *js, v8::Local<v8::Object> object)
{
    v8::Local<v8::Array> names = own(js, object);
    v8::Local<v8::Value> name, value, prototype;
    for (uint32_t i = 0; i < names->Length(); i++)
        if (names->Get(js->context, i).ToLocal(&name) &&
            object->Get(js->context, name).ToLocal(&value) && value->IsFunction() &&
            value.As<v8::Object>()
                ->Get(js->context, text(js->isolate(), "prototype"))
                .ToLocal(&prototype) &&
            prototype->IsObject())
            empty(js, prototype.As<v8::Object>());
}

} // namespace

void withhold(isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(isolate);
    IsWebAssembly is(isolate);
    std::vector<v8::Global<v8::Object>> found;
    isolate->GetHeapProfiler()->QueryObjects(js->context, &is, &found);
    for (auto &one : found) {
        v8::Local<v8::Object> object = one.Get(isolate);
        empty_prototypes(js, object);
        empty(js, object);
        (void)object->CreateDataProperty(js->context, text(isolate, kAdded), v8::Undefined(isolate))
            .FromMaybe(false);
    }
    empty(js, js->context->GetExtrasBindingObject());
}

} // namespace isola
