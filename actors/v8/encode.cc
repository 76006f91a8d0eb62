// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/encode.hh"

#include <cstdio>

#include "base/check.h"

namespace isola
{

// Encoded bytes of one value: what one message may have, and an envelope around it. What is small
// in memory and endless in bytes (a sparse array, one long string referred to a million times) ends
// at twice what the isolate has in memory, if that is more than kFew. A state, a row of a database,
// may have no more than that, an item of an actor's storage kItem.
constexpr size_t kItem = 16u << 20;
constexpr size_t kFew = (64u << 20) - (64u << 10), kMost = (size_t{1} << 30) - (64u << 10);

bool Encoder::run(v8::Local<v8::Value> value, Wrap wrap)
{
    wrap_ = wrap;
    begun_ = out_->len;
    limit_ = begun_ + (wrap == Wrap::Item ? kItem : kFew);
    if (readable_)
        base_ = object_prototype();
    bool wrapped = wrap == Wrap::ArgsOfOne || wrap == Wrap::OneArg;
    if (wrapped) {
        isola_mp_array(out_, 1);
        count_ = 1; // the args array itself
    }
    bool ok = write(value, wrapped ? 1 : 0);
    if (out_->failed) {
        isolate_->ThrowException(make_error(isolate_, "ENOMEM", "out of memory while encoding"));
        return false;
    }
    if (attempt_ != 0 && (ok || refused_code_ != nullptr)) // else something was thrown
        ok = stream_ends_sent(js_, attempt_, ok) && ok;
    // Thrown only here: V8 aborts when an exception is thrown far below the end of its own
    // stack.
    if (!ok && refused_code_ != nullptr)
        isolate_->ThrowException(make_error(isolate_, refused_code_, refused_.c_str()));
    return ok;
}

v8::Local<v8::Object> Encoder::object_prototype()
{
    auto &kept = js_->v->object_prototype;
    if (kept.IsEmpty())
        kept.Reset(isolate_, v8::Object::New(isolate_)->GetPrototypeV2().As<v8::Object>());
    return kept.Get(isolate_);
}

bool Encoder::raise()
{
    v8::HeapStatistics stats;
    if (raised_ || saves())
        return false;
    raised_ = true;
    isolate_->GetHeapStatistics(&stats);
    size_t twice = 2 * (stats.used_heap_size() + stats.external_memory());
    limit_ = begun_ + (twice < kFew ? kFew : twice < kMost ? twice : kMost);
    return true;
}

void Encoder::pin()
{
    for (Step *s = step_; s != nullptr && !s->pinned; s = s->up) {
        s->handle = heap::handle<v8::Object>(isolate_, s->object);
        if (s->plain != nullptr) {
            s->names = names_.size();
            s->pinned_at = s->index;
            for (uint32_t i = s->index; i < s->plain->n; i++)
                names_.push_back(heap::handle(isolate_, s->plain->name(i)));
            s->name = names_[s->names];
        }
        s->pinned = true;
    }
    pin_objects();
}

void Encoder::take_addresses_again()
{
    ISOLA_CHECK(pins_.size() == objects_.size());
    for (size_t i = 0; i < pins_.size(); i++)
        objects_[i].at = heap::address(pins_[i]);
    collections_ = js_->v->collections;
    if (!index_.empty())
        index_objects(index_.size());
}

void Encoder::index_objects(size_t size)
{
    index_.assign(size, 0);
    for (uint32_t i = 0; i < objects_.size(); i++) {
        size_t slot = slot_of(objects_[i].at, size - 1);
        while (index_[slot] != 0)
            slot = (slot + 1) & (size - 1);
        index_[slot] = i + 1;
    }
}

bool Encoder::back(uint32_t number)
{
    uint8_t be[4] = {static_cast<uint8_t>(number >> 24), static_cast<uint8_t>(number >> 16),
                     static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)};
    size_t skip = number <= 0xff ? 3 : number <= 0xffff ? 2 : 0;
    isola_mp_ext(out_, ISOLA_EXT_BACKREF, isola_slice(be + skip, 4 - skip));
    return true;
}

bool Encoder::too_big()
{
    char what[80];
    snprintf(what, sizeof(what), "it takes more than %zu MB to %s", (limit_ - begun_) >> 20,
             saves() ? "save" : "send");
    return refuse(what, "ETOOBIG");
}

bool Encoder::refuse(const char *what, const char *code)
{
    std::string where = wrap_ == Wrap::Value    ? "args"
                        : wrap_ == Wrap::OneArg ? "args[0]"
                        : wrap_ == Wrap::State  ? "state"
                                                : "value";
    pin();
    std::vector<const Step *> path;
    for (const Step *s = step_; s != nullptr; s = s->up)
        path.push_back(s);
    for (; !path.empty(); path.pop_back()) {
        const Step &s = *path.back();
        switch (s.kind) {
        case Step::Index:
        case Step::SetItem:
            where += "[" + std::to_string(s.index) + "]";
            break;
        case Step::Name:
            where += "." + utf8(isolate_, s.name, 200);
            break;
        case Step::MapKey:
            where += ".keys()[" + std::to_string(s.index) + "]";
            break;
        case Step::MapValue:
            where += ".values()[" + std::to_string(s.index) + "]";
            break;
        }
    }
    refused_ = where + ": " + what;
    refused_code_ = code;
    return false;
}

thread_local Scratch::Kept Scratch::kept;

bool encode(isola_js *js, v8::Local<v8::Value> value, Wrap wrap, isola_buf *out, bool streams)
{
    return Encoder(js, out, streams).run(value, wrap);
}

void encode_error(isola_js *js, v8::Local<v8::Value> error, isola_buf *out)
{
    v8::TryCatch caught(js->isolate());
    size_t before = out->len;
    if (!error.IsEmpty() && error->IsNativeError() && !ending(js->v) &&
        encode(js, error, Wrap::ArgsOfOne, out))
        return;
    // Not an Error, or one that cannot be sent: what it says can.
    out->len = before;
    isola_mp_array(out, 1);
    isola_mp_error(out, ISOLA_ESCRIPT, describe(js, error).c_str(), nullptr);
}

} // namespace isola
