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
constexpr size_t kIsolate[] = {0x0,   0x40,   0x80,   0x140,  0x180,   0x1c0,   0x200,  0x240,
                               0x280, 0x5838, 0xf5e0, 0xffe0, 0x10160, 0x112f8, 0x114f8};
// Pointers in it, and where the lines are in what they point to: the code that calls JavaScript,
// what the debugger wants to know of calls, the counters of V8's, threads, handles, the debugger,
// regular expressions, the heap as a thread sees it.
constexpr struct {
    size_t pointer, line;
} kOfIsolate[] = {{0xa9b0, 0},      {0x58e0, 0},     {0x10010, 0xd38}, {0x10148, 0},
                  {0x100b0, 0},     {0x10358, 0x80}, {0x10358, 0xc0},  {0x10358, 0xf0},
                  {0x10188, 0x400}, {0x114a0, 0},    {0x114a0, 0x48}};
// The table of functions' code that all isolates share: where an entry is, and a function's number.
constexpr size_t kDispatch = 0x268, kDispatchEntry = 16;
constexpr int kHandle = 3 * heap::kWord, kHandleShift = 8;
// Of a function: what it has in common with others of the same text, whose second word is its code;
// its context; and, behind one more object, what its calls have been like.
constexpr int kShared = 4 * heap::kWord, kContext = 5 * heap::kWord, kFeedback = 6 * heap::kWord;
constexpr size_t kBytecode = 128;
// Of a context: what is before its slots, and the first word that is a script's.
constexpr int kContextSlots = 2, kContextFirst = 4;
// Of what calls have been like: how many entries, the first, and of how many is looked at.
constexpr int kFeedbackLength = heap::kWord, kFeedbackFirst = 6 * heap::kWord;
constexpr int kFeedbackMost = 32;
constexpr size_t kQueue = 128; // of the queue of microtasks
// The threads that have been in it: a table of lists of nodes, each with its data.
constexpr size_t kVisitors = 0x11508, kVisitor = 0x10, kVisitorsTable = 0x114f8, kTable = 104;
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

// The pages of V8's heap, each with what is known of it at its beginning.
constexpr int kPageBits = 18;

// An object that is not in the memory that all isolates share, which is in a cache. What is no
// object but looks like one (a handle of 32 bits in a function) is below 4 GB.
bool is_own(Address value)
{
    return v8::internal::Internals::HasHeapObjectTag(value) && value >> 32 != 0 &&
           (value ^ heap::known.undefined) >> kPageBits != 0;
}

const char *place_of(Address object)
{
    return reinterpret_cast<const char *>(object - v8::internal::kHeapObjectTag);
}

// Words that can be read from where an object begins, whatever it is: they may be another's.
int words_left(Address object)
{
    constexpr Address kPage = 4096;
    return static_cast<int>((kPage - (object - v8::internal::kHeapObjectTag) % kPage) /
                            heap::kWord);
}
int words_at(Address object)
{
    int n = words_left(object);
    return n < kWords ? n : kWords;
}

} // namespace

Footprint::Footprint(const void **lines, unsigned max, Address function)
    : lines_(lines), max_(max), function_type_(heap::type_of_map(heap::map_of(function)))
{
}

void Footprint::add_place(Address object, size_t n)
{
    add(place_of(object), n);
    add(reinterpret_cast<const char *>(object & ~((Address{1} << kPageBits) - 1)));
}

void Footprint::add_object(Address object)
{
    add_place(object);
    for (int i = 0; i < words_at(object); i++)
        if (Address value = heap::word(object, i * heap::kWord); is_own(value))
            add_place(value);
}

void Footprint::add_value(Address object)
{
    Address map = heap::map_of(object);
    add_object(object);
    if (is_own(map))
        add_object(map);
    if (Address names = heap::word(map, heap::kMapDescriptors); is_own(names))
        add(place_of(names), heap::kDescriptors + 3 * heap::kDescriptor);
}

void Footprint::add_function(const v8::Isolate *isolate, Address function, int calls)
{
    Address map = heap::map_of(function);
    if (!is_known() || heap::type_of_map(map) != function_type_)
        return;
    const char *table = pointer(reinterpret_cast<const char *>(isolate) + kDispatch);
    add(table + (heap::plain_field<uint32_t>(function, kHandle) >> kHandleShift) * kDispatchEntry);
    add_place(function);
    add_place(map);
    if (Address context = heap::word(function, kContext); is_own(context))
        add_context(context);
    Address shared = heap::word(function, kShared), cell = heap::word(function, kFeedback);
    if (!is_own(shared) || !is_own(cell))
        return;
    add_place(shared);
    add_place(cell);
    if (Address code = heap::word(shared, heap::kWord); is_own(code))
        add(place_of(code), kBytecode);
    if (Address feedback = heap::word(cell, heap::kWord); is_own(feedback))
        add_feedback(isolate, feedback, shared, calls);
}

// Of the functions in it those that are called are found by their feedback.
void Footprint::add_context(Address context)
{
    Address length = heap::word(context, heap::kWord);
    add_place(context);
    if (!heap::is_small(length))
        return;
    int n = kContextSlots + heap::small(length), most = words_at(context);
    for (int i = kContextFirst; i < n && i < most; i++)
        if (Address value = heap::word(context, i * heap::kWord);
            is_own(value) && heap::type_of_map(heap::map_of(value)) != function_type_)
            add_object(value);
}

// Entries of functions are those that it has called. A function that has hardly run has something
// else there; the feedback itself says whose it is.
void Footprint::add_feedback(const v8::Isolate *isolate, Address feedback, Address shared,
                             int calls)
{
    constexpr Address kWeak = 2;
    int left = words_left(feedback) - kFeedbackFirst / heap::kWord;
    bool is_its = false;
    for (int at = 2 * heap::kWord; left > 0 && at < kFeedbackFirst; at += heap::kWord)
        is_its = is_its || heap::word(feedback, at) == shared;
    if (!is_its)
        return;
    int n = heap::plain_field<int32_t>(feedback, kFeedbackLength);
    n = n < kFeedbackMost ? n : kFeedbackMost;
    n = n < left ? n : left;
    if (n <= 0)
        return;
    add(place_of(feedback), static_cast<size_t>(kFeedbackFirst + n * heap::kWord));
    for (int i = 0; i < n && calls > 0; i++) {
        Address value = heap::word(feedback, kFeedbackFirst + i * heap::kWord) & ~kWeak;
        if (is_own(value) && heap::type_of_map(heap::map_of(value)) == function_type_)
            add_function(isolate, value, calls - 1);
    }
}

void Footprint::add_isolate(const v8::Isolate *isolate)
{
    if (!is_known())
        return;
    const char *at = reinterpret_cast<const char *>(isolate);
    for (size_t offset : kIsolate)
        add(at + offset);
    for (const auto &of : kOfIsolate) {
        add(at + of.pointer);
        add(pointer(at + of.pointer) + of.line);
    }
    add(pointer(at + kVisitorsTable), kTable);
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
    Footprint f(lines, max, heap::address(v->hooks[HOOK_RUN].Get(v->isolate)));
    f.add_isolate(v->isolate);
    f.add(v, static_cast<size_t>(reinterpret_cast<char *>(v->hooks) - reinterpret_cast<char *>(v)));
    f.add(js, sizeof(*js));
    f.add(v->guard.quota.get(), sizeof(*v->guard.quota));
    f.add(&v->ring, sizeof(v->ring));
    v->ring.names.add_to(&f);
    f.add(js->context->GetMicrotaskQueue(), kQueue);
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
        f.add(&actor);
        f.add(holder);
        if (!v->state_name.IsEmpty()) { // a start that waits: no state has been saved yet
            f.add(v->state_name);
            f.add_place(heap::address(v->state_name.Get(v->isolate)));
        }
        f.add_value(heap::address(holder.Get(v->isolate)));
        if (state_of(js, holder).ToLocal(&state) && state->IsObject())
            f.add_value(heap::address(state));
    }
    return f.count();
}
