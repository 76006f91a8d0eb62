// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/footprint.hh"

#include <cstring>

#include "actors/v8/heap.hh"
#include "actors/v8/internal.hh"

namespace isola
{
namespace
{

using v8::internal::Address;

// Where it has what, in bytes (isolate.h, isolate-data.h, v8threads.h, debug.h, regexp-stack.h), in
// the V8 it was found in: perf shows what instructions wait for when isolates are visited that are
// in no cache. Of any other V8 nothing of this is fetched.
constexpr char kVersion[] = "14.6.";
constexpr size_t kIsolate[] = {0x0,   0x40,   0x80,    0x140,   0x180,   0x200,   0x240,
                               0x280, 0xffe0, 0x10148, 0x10160, 0x10358, 0x114a0, 0x114f8};
constexpr size_t kEntry = 0xa9b0; // the code that calls JavaScript
constexpr size_t kThreads = 0x10148, kDebug = 0x10358, kRegExp = 0x10188, kScopes = 0x100b0;
constexpr size_t kOfDebug = 0x80, kMoreOfDebug = 0xc0, kOfRegExp = 0x400;
// The threads that have been in it: a list of nodes, each with its data.
constexpr size_t kVisitors = 0x11508, kVisitor = 0x10;
constexpr int kVisitorsMost = 4;

bool is_known()
{
    static const bool known = strncmp(v8::V8::GetVersion(), kVersion, sizeof(kVersion) - 1) == 0;
    return known;
}

const char *pointer(const char *at)
{
    const char *p;
    memcpy(&p, at, sizeof(p));
    return p;
}

constexpr int kWords = 8; // of an object that matter; a function has no more

// An object that is not in the memory that all isolates share, which is in a cache. What is no
// object but looks like one (a handle of 32 bits in a function) is below 4 GB.
bool is_own(Address value)
{
    constexpr int kPageBits = 18;
    return v8::internal::Internals::HasHeapObjectTag(value) && value >> 32 != 0 &&
           (value ^ heap::known.undefined) >> kPageBits != 0;
}

const char *place_of(Address object)
{
    return reinterpret_cast<const char *>(object - v8::internal::kHeapObjectTag);
}

// Words that can be read from where an object begins, whatever it is: they may be another's.
int words_at(Address object)
{
    constexpr Address kPage = 4096;
    Address left = kPage - (object - v8::internal::kHeapObjectTag) % kPage;
    int n = static_cast<int>(left / heap::kWord);
    return n < kWords ? n : kWords;
}

} // namespace

void Footprint::add_object(Address object)
{
    add(place_of(object));
    for (int i = 0; i < words_at(object); i++)
        if (Address value = heap::word(object, i * heap::kWord); is_own(value))
            add(place_of(value));
}

void Footprint::add_function(Address function)
{
    int n = heap::plain_field<uint8_t>(heap::word(function, 0), heap::kMapSize);
    add_object(function);
    for (int i = 1; i < n && i < kWords; i++)
        if (Address value = heap::word(function, i * heap::kWord); is_own(value))
            add_object(value);
}

void Footprint::add_isolate(const v8::Isolate *isolate)
{
    if (!is_known())
        return;
    const char *at = reinterpret_cast<const char *>(isolate);
    for (size_t offset : kIsolate)
        add(at + offset);
    add(at + kEntry);
    add(pointer(at + kEntry));
    add(pointer(at + kThreads));
    add(pointer(at + kScopes));
    add(pointer(at + kDebug) + kOfDebug);
    add(pointer(at + kDebug) + kMoreOfDebug);
    add(pointer(at + kRegExp) + kOfRegExp);
    const char *visitor = pointer(at + kVisitors);
    for (int i = 0; i < kVisitorsMost && visitor != nullptr; i++, visitor = pointer(visitor)) {
        add(visitor);
        add(pointer(visitor + kVisitor));
    }
}

} // namespace isola

using namespace isola;

extern "C" unsigned isola_js_footprint(struct isola_js *js, const void **lines, unsigned max)
{
    isola_v8 *v = js->v;
    v8::HandleScope scope(v->isolate);
    if (v->shared || !heap::readable(v->isolate))
        return 0;
    Footprint f(lines, max);
    f.add_isolate(v->isolate);
    f.add(v, static_cast<size_t>(reinterpret_cast<char *>(v->hooks) - reinterpret_cast<char *>(v)));
    f.add(&v->ring, sizeof(v->ring));
    f.add(&v->lone, sizeof(v->lone));
    f.add(&v->holders, sizeof(v->holders));
    f.add(v->ring.ints, Ring::kHeader * sizeof(int32_t));
    f.add(v->ring.in(0));
    f.add(v->ring.mails.data());
    f.add(v->context);
    f.add_object(heap::address(js->context));
    v->lone.add_to(&f, v);
    v8::Local<v8::Value> state;
    for (const auto &[actor, holder] : v->holders) {
        f.add(holder);
        f.add(v->state_name);
        if (state_of(js, holder).ToLocal(&state) && state->IsObject())
            f.add_object(heap::address(state));
    }
    return f.count();
}
