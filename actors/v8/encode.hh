// SPDX-License-Identifier: Apache-2.0
//
// One half of the codec: from V8 values to msgpack, with nothing in between (docs/wire.md). Its
// entries are in internal.hh.
//
// Plain values (numbers, strings, arrays, objects of `{…}`) are read where they lie in V8's heap
// (encode_plain.cc), without a handle, a copy or a call of V8's. What is not plain is read through
// V8's interface (encode_objects.cc), where getters of the script may run, and may throw: what they
// throw is passed on. Of an instance of a class it says what that is; its properties, and what is
// in a Map or Set, are read where they lie again. The bytes are the same either way.
//
// V8 moves objects when it allocates. So before it is asked for anything that may, all that was
// read by address gets a handle (`pin`): the containers on the way down to here, which are then
// read on through V8's interface, and the objects that were seen.
//
// Every object is numbered in the order in which they begin, and a back reference is written for
// one seen before, so shared references and cycles arrive as they were. They are known by their
// address; when V8 has collected garbage (isola_v8::collections), the addresses are taken again
// from the handles.
#pragma once

#include <string>
#include <vector>

#include "actors/v8/heap.hh"
#include "actors/v8/transcode.hh"
#include "actors/v8/values.hh"

namespace isola
{

class Encoder
{
  public:
    using Address = heap::Address;

    Encoder(isola_js *js, isola_buf *out, bool streams)
        : js_(js), isolate_(js->isolate()), context_(js->context), out_(out),
          collections_(js->v->collections), readable_(heap::readable(isolate_)), streams_(streams)
    {
    }
    Encoder(const Encoder &) = delete;

    // Once. False: an exception is thrown.
    bool run(v8::Local<v8::Value> value, Wrap wrap);

  private:
    static constexpr uint32_t kLinear = 16; // up to so many objects, a scan beats hashing

    // Every object of `{…}` has it; scripts cannot give Object another.
    v8::Local<v8::Object> object_prototype();

    enum class Read { Done, NotPlain, Failed };
    // A string: a value, whose long texts travel as they are, or a name, which is always UTF-8.
    enum class As { Value, Name };

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer" // the destructor takes it away again
#endif
    // A container on the way from the value to what is being written, which is at `index` in it or
    // has that name. One that is read by address has no handle until it is pinned; pinned, the
    // names that are still to come are in names_ from `names` on.
    struct Step {
        enum Kind { Index, Name, MapKey, MapValue, SetItem };
        Step(Encoder *e, Kind k) : encoder(e), up(e->step_), kind(k) { e->step_ = this; }
        Step(Encoder *e, Kind k, Address at, const heap::Plain *p)
            : encoder(e), up(e->step_), kind(k), pinned(false), object(at), plain(p)
        {
            e->step_ = this;
        }
        ~Step() { encoder->step_ = up; }
        Step(const Step &) = delete;

        Encoder *encoder;
        Step *up;
        Kind kind;
        bool pinned = true;
        uint32_t index = 0;
        Address object = 0;
        const heap::Plain *plain = nullptr;
        v8::Local<v8::Object> handle{};
        v8::Local<v8::Value> name{};
        size_t names = 0;
        uint32_t pinned_at = 0;
    };
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

    // --- bytes ---

    // Nothing of V8's is asked on the way through a long list of plain values.
    bool ended()
    {
        return (++looks_ & 0xff) == 0 && ending(js_->v);
    }

    // Is there room for `n` more bytes? `room` refuses when there is none.
    bool fits(size_t n)
    {
        return (out_->len <= limit_ && n <= limit_ - out_->len) || (raise() && fits(n));
    }
    ISOLA_OWN_FRAME bool raise();
    bool room(size_t n)
    {
        return fits(n) || too_big();
    }

    // Where so many bytes may be written, which do not count before `wrote`; null: refused.
    uint8_t *need(size_t n)
    {
        if (__builtin_expect(out_->len + n > stop_, false)) {
            if (!room(n) || (out_->cap - out_->len < n && !isola_buf_grow(out_, n)))
                return nullptr;
            stop_ = out_->cap < limit_ ? out_->cap : limit_;
        }
        return out_->data + out_->len;
    }
    void wrote(const uint8_t *end)
    {
        out_->len = static_cast<size_t>(end - out_->data);
    }

    template <typename Put> bool put(size_t most, Put how)
    {
        uint8_t *p = need(most);
        if (p == nullptr)
            return false;
        wrote(how(p));
        return true;
    }
    bool byte(uint8_t b)
    {
        return put(1, [b](uint8_t *p) {
            *p = b;
            return p + 1;
        });
    }
    bool number(double d)
    {
        return put(kNumberRoom, [d](uint8_t *p) { return put_number(p, d); });
    }
    bool undefined()
    {
        return put(3, [](uint8_t *p) { return put_undefined(p); });
    }

    // --- what was seen, and handles ---

    // Everything that is known by its address gets a handle. Does not allocate on V8's heap.
    void pin();
    void pin_objects()
    {
        for (size_t i = pins_.size(); i < objects_.size(); i++)
            pins_.push_back(heap::handle<v8::Object>(isolate_, objects_[i].at));
    }

    // V8 may have moved what was seen.
    ISOLA_OWN_FRAME void take_addresses_again();

    static size_t slot_of(Address at, size_t mask)
    {
        return static_cast<size_t>((at >> 3) * 0x9e3779b97f4a7c15u >> 32) & mask;
    }
    void index_objects(size_t size);

    // Yes: the object was seen before, and the back reference is written.
    enum class Seen { No, Yes, Failed };
    Seen seen(Address at)
    {
        if (__builtin_expect(collections_ != js_->v->collections, false))
            take_addresses_again();
        size_t n = objects_.size();
        if (n <= kLinear) {
            for (size_t i = 0; i < n; i++)
                if (objects_[i].at == at)
                    return back(objects_[i].number) ? Seen::Yes : Seen::Failed;
            objects_.push_back({at, count_++});
            return Seen::No;
        }
        if (index_.size() < 2 * (n + 1))
            index_objects(index_.empty() ? 8 * kLinear : 4 * index_.size());
        size_t mask = index_.size() - 1, slot = slot_of(at, mask);
        for (; index_[slot] != 0; slot = (slot + 1) & mask)
            if (objects_[index_[slot] - 1].at == at)
                return back(objects_[index_[slot] - 1].number) ? Seen::Yes : Seen::Failed;
        index_[slot] = static_cast<uint32_t>(n + 1);
        objects_.push_back({at, count_++});
        return Seen::No;
    }
    ISOLA_OWN_FRAME bool back(uint32_t number);

    // --- by address ---

    Read read(Address value, int depth);
    // What V8 can be asked about without any consequences.
    ISOLA_OWN_FRAME Read read_leaf(Address value, int depth);
    bool in_one_piece(const heap::Text &t, As as);
    Read read_string(Address s, As as);
    // Its pieces from left to right, with no recursion: a rope may be as deep as it is long.
    template <typename Char> Read collect(Address rope, Char *to);
    ISOLA_OWN_FRAME Read read_rope(Address s, As as);
    // Not plain: it is read through V8's interface, and so is the rest of what it is in.
    ISOLA_OWN_FRAME bool write_not_plain(Address value, int depth);
    // The items from `i` on.
    ISOLA_OWN_FRAME Read array_rest(Step *step, uint32_t i, uint32_t n, int depth);
    Read read_array(Address array, Address map, int depth);
    ISOLA_OWN_FRAME Read read_numbers(const heap::Items &a, Step *step, int depth);
    ISOLA_OWN_FRAME Read plain_rest(Step *step, uint32_t i, uint32_t n, int depth);
    Read read_plain(Address object, Address map, int depth);
    Read read_properties(const heap::Plain &o, int depth);
    // One that was seen, whatever its prototype: its own properties are all that counts.
    ISOLA_OWN_FRAME Read read_instance(v8::Local<v8::Object> object, int depth);
    // The item of an array that no script has.
    ISOLA_OWN_FRAME bool write_item(v8::Local<v8::Array> all, uint32_t i, int depth);

    // --- through V8's interface ---

    // By address, if that can be.
    bool write(v8::Local<v8::Value> value, int depth);
    ISOLA_OWN_FRAME bool write_value(v8::Local<v8::Value> value, int depth);
    ISOLA_OWN_FRAME bool bigint(v8::Local<v8::BigInt> value);
    ISOLA_OWN_FRAME bool object(v8::Local<v8::Object> o, int depth);
    ISOLA_OWN_FRAME bool array(v8::Local<v8::Array> a, int depth);
    // A ref, or an object's own enumerable properties.
    ISOLA_OWN_FRAME bool plain(v8::Local<v8::Object> o, int depth);
    // An end of a stream: what it says of itself, which is not counted as objects.
    ISOLA_OWN_FRAME bool stream(v8::Local<v8::Object> o);
    ISOLA_OWN_FRAME bool view(v8::Local<v8::ArrayBufferView> view);
    ISOLA_OWN_FRAME bool buffer(v8::Local<v8::ArrayBuffer> b);
    bool date(double ms);
    ISOLA_OWN_FRAME bool map(v8::Local<v8::Map> m, int depth);
    ISOLA_OWN_FRAME bool set(v8::Local<v8::Set> s, int depth);
    // Not the property `flags`, which a script may have changed to what cannot be read again.
    ISOLA_OWN_FRAME bool regexp(v8::Local<v8::RegExp> r);
    ISOLA_OWN_FRAME bool error(v8::Local<v8::Object> e, int depth);

    // --- strings ---

    ISOLA_OWN_FRAME bool latin1(const uint8_t *from, size_t n, As as);
    ISOLA_OWN_FRAME bool utf16(const char16_t *from, size_t n, As as);
    ISOLA_OWN_FRAME bool units(const char16_t *from, size_t n);
    ISOLA_OWN_FRAME bool raw(uint8_t type, const void *bytes, size_t n, bool pad = false);
    ISOLA_OWN_FRAME bool string(v8::Local<v8::String> s, As as);
    bool name(v8::Local<v8::Value> s)
    {
        return string(s.As<v8::String>(), As::Name);
    }
    // A copy of V8's.
    ISOLA_OWN_FRAME bool ask_string(v8::Local<v8::String> s, As as);

    // --- what cannot be sent ---

    ISOLA_OWN_FRAME bool too_big();
    ISOLA_OWN_FRAME bool refuse(const char *what, const char *code = "ECLONE");

    struct Object {
        Address at;
        uint32_t number;
    };

    isola_js *js_;
    v8::Isolate *isolate_;
    v8::Local<v8::Context> context_;
    isola_buf *out_;
    bool saves() const
    {
        return wrap_ == Wrap::State || wrap_ == Wrap::Item;
    }
    Wrap wrap_ = Wrap::Value;
    size_t begun_ = 0;
    bool raised_ = false;
    size_t limit_ = 0, stop_ = 0; // out_->len may grow to limit_; to stop_ without a thought
    uint32_t looks_ = 0;
    uint32_t count_ = 0; // objects that have a number
    uint32_t collections_;
    bool readable_;
    bool streams_;                 // may be sent
    uint32_t attempt_ = 0;         // there is one: this is what the value is called for it
    v8::Local<v8::Object> base_{}; // Object.prototype
    Step *step_ = nullptr;
    Few<Object, kLinear> objects_;
    std::vector<v8::Local<v8::Object>> pins_; // of the first of them
    std::vector<uint32_t> index_;             // of objects_, by address; 0: none
    std::vector<v8::Local<v8::Value>> names_;
    std::string refused_;
    const char *refused_code_ = nullptr;
};

} // namespace isola
