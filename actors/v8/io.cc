// SPDX-License-Identifier: Apache-2.0
//
// Having things done outside of the isolate (actors/lib/runtime/io.js). Scripts cannot reach these.
#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

uint64_t id_of(Info info)
{
    return info[0]->IsNumber() ? static_cast<uint64_t>(info[0].As<v8::Number>()->Value()) : 0;
}

// start(actor, gated, what, head, body | undefined) → id
void start(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_v8 *v = from(isolate);
    isola_js js{v, isolate->GetCurrentContext()};
    drain(&js); // what was sent before
    uint32_t actor = info[0]->IsUint32() ? info[0].As<v8::Uint32>()->Value() : 0;
    std::string what = utf8(isolate, info[2]), head = utf8(isolate, info[3]);
    BytesOf body(info[4]);
    uint64_t id = 0;
    isola_err err{};
    int r = v->ops->io_start(
        v->arg, actor, info[1]->IsTrue(), isola_slice(what.data(), what.size()),
        isola_slice(head.data(), head.size()), isola_slice(body.data, body.len), &id, &err);
    if (r != 0)
        isolate->ThrowException(make_error(isolate, isola_error_name(r), err.text));
    else
        info.GetReturnValue().Set(static_cast<double>(id));
}

void more(Info info)
{
    const isola_v8 *v = from(info.GetIsolate());
    v->ops->io_more(v->arg, id_of(info));
}

void cancel(Info info)
{
    const isola_v8 *v = from(info.GetIsolate());
    v->ops->io_cancel(v->arg, id_of(info));
}

const Native functions[] = {{"start", start}, {"more", more}, {"cancel", cancel}};

} // namespace

const NativeGroup io_natives = {"io", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
