// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/heap.hh"

#include <map>
#include <string>

#include "actors/v8/internal.hh"

namespace isola::heap
{

Known known;

namespace
{

// Values of all kinds that are read, and of kinds that must be seen not to be plain.
constexpr char kSamples[] = R"js((() => {
  const text = 'abcdefghijklmnopqrstuvwxyz', key = 'a key of an object';
  const many = {};
  for (let i = 0; i < 12; i++) many['p' + i] = i * 100;
  many.p11 = 'last';
  const indirect = ['a key', 'of an object'].join(' ');
  ({ [key]: 1 })[indirect];
  const hidden = {};
  Object.defineProperty(hidden, 'a', { value: 1, enumerable: false });
  const slow = { a: 1, b: 2, c: 3 };
  delete slow.a;
  const rope = text + 'and so it goes on: ' + many.p3;
  return {
    plain: { a: 1, b: 2.5, c: 'x', d: null, e: -7, f: true },
    many: JSON.parse(JSON.stringify(many)), grown: many,
    frozen: Object.freeze({ a: 1 }), bare: {}, null: { __proto__: null },
    getter: { get a() { return 1; } }, setter: { a: 1, set b(v) {} }, hidden, slow,
    indexed: { a: 1, 7: 2 }, symbol: { a: 1, [Symbol.iterator]: 2 }, made: new (class { a = 1; })(),
    heir: { __proto__: { b: 1 }, a: 1 }, map: new Map(), date: new Date(0), error: new Error(),
    proxy: new Proxy({}, {}), call() {}, list: [],
    small: [1, -2, 3000000], doubles: [1.5, -2.5], any: ['x', 1, 2.5], holes: [1, , 3], gaps: [1.5, , 2.5],
    mixed: [1.5, undefined], fixed: Object.freeze(['x', 1]), sealed: Object.seal([1, 'x']), none: [], sparse: Object.assign([], { 99999999: 1 }),
    args: (function () { return arguments; })(1, 2), bytes: new Uint8Array(3),
    slice: text.slice(3, 23), wide: '\u65e5\u672c', wideSlice: '\u65e5\u672c\u8a9e-0123456789-0123456789'.slice(1, 20),
    rope, indirect, half: 0.5, big: 2 ** 40, text,
  };
})())js";

class Samples
{
  public:
    Samples(v8::Isolate *isolate, v8::Local<v8::Context> context)
        : isolate_(isolate), context_(context)
    {
    }
    bool make()
    {
        v8::Local<v8::Script> script;
        v8::Local<v8::Value> all, value;
        v8::Local<v8::Array> names;
        if (!v8::Script::Compile(context_, isola::text(isolate_, kSamples)).ToLocal(&script) ||
            !script->Run(context_).ToLocal(&all) || !all->IsObject() ||
            !all.As<v8::Object>()->GetOwnPropertyNames(context_).ToLocal(&names))
            return false;
        for (uint32_t i = 0; i < names->Length(); i++) {
            v8::Local<v8::Value> name;
            if (!names->Get(context_, i).ToLocal(&name) ||
                !all.As<v8::Object>()->Get(context_, name).ToLocal(&value))
                return false;
            all_.emplace(utf8(isolate_, name), value);
        }
        base_ = get("plain").As<v8::Object>()->GetPrototypeV2();
        return true;
    }
    // Nothing is allocated when they are looked at.
    v8::Local<v8::Value> get(const char *name) const
    {
        auto found = all_.find(name);
        return found != all_.end() ? found->second : v8::Undefined(isolate_).As<v8::Value>();
    }
    Address at(const char *name) const { return address(get(name)); }

    bool is_plain(const char *name, Plain *out) const
    {
        Address o = at(name);
        return !is_small(o) && plain(o, map_of(o), address(base_), out);
    }
    bool has_items(const char *name, Items::Kind kind, uint32_t n, Items *out) const
    {
        Address o = at(name);
        return items(o, map_of(o), out) && out->kind == kind && out->n == n;
    }
    bool says(Address string, const char *what) const
    {
        Text t;
        return !is_small(string) && is_string_map(map_of(string)) && heap::text(string, &t) &&
               t.one_byte && t.length == strlen(what) && memcmp(t.data, what, t.length) == 0;
    }
    bool says_wide(Address string, const char16_t *what, uint32_t n) const
    {
        Text t;
        return is_string_map(map_of(string)) && heap::text(string, &t) && !t.one_byte &&
               t.length == n && memcmp(t.data, what, 2 * n) == 0;
    }

  private:
    v8::Isolate *isolate_;
    v8::Local<v8::Context> context_;
    std::map<std::string, v8::Local<v8::Value>> all_{};
    v8::Local<v8::Value> base_{};
};

double number(Address n)
{
    return plain_field<double>(n, kNumberValue);
}

// What is the same in all isolates. Only what V8 says in its headers is relied on, and that the
// second word of a map is where it also says the type is.
bool take_roots(v8::Isolate *isolate, const Samples &s)
{
    Address plain_object = s.at("plain"), list = s.at("small");
    known.undefined = address(v8::Undefined(isolate));
    known.null = address(v8::Null(isolate));
    known.yes = address(v8::True(isolate));
    known.no = address(v8::False(isolate));
    if (is_small(plain_object) || is_small(list) || is_small(s.at("half")) ||
        Internals::GetInstanceType(plain_object) != Internals::kJSObjectType)
        return false;
    known.number_map = map_of(s.at("half"));
    known.array_type = type_of_map(map_of(list));
    known.no_items = word(plain_object, kElements);
    if (is_small(known.no_items) || is_small(word(list, kElements)) ||
        known.array_type == Internals::kJSObjectType)
        return false;
    known.shared_items_map = map_of(word(list, kElements)); // of a literal, until it is written to
    known.items_map = map_of(known.no_items);
    known.doubles_map = map_of(word(s.at("doubles"), kElements));
    Address more = word(s.at("grown"), kProperties);
    if (is_small(more))
        return false;
    known.more_properties_map = map_of(more);
    known.hole = word(word(s.at("holes"), kElements), kItems + kWord);
    known.double_hole = word(word(s.at("gaps"), kElements), kItems + kWord);
    return Internals::HasHeapObjectTag(known.hole) && known.doubles_map != known.items_map;
}

bool strings_lie_so(const Samples &s)
{
    Text t;
    Address rope = s.at("rope");
    bool ok = s.says(s.at("text"), "abcdefghijklmnopqrstuvwxyz") &&
              s.says(s.at("slice"), "defghijklmnopqrstuvw") &&
              s.says(s.at("indirect"), "a key of an object") &&
              s.says_wide(s.at("wide"), u"\u65e5\u672c", 2) &&
              s.says_wide(s.at("wideSlice"), u"\u672c\u8a9e-0123456789-01234", 19) &&
              !is_small(rope) && !heap::text(rope, &t) && string_length(rope) == 48 &&
              is_one_byte(rope);
    if (!ok)
        return false;
    Address first = word(rope, kStringFirst), second = word(rope, kStringSecond);
    return (type_of_map(map_of(rope)) & kStringTypes) == kRope && s.says(second, "300") &&
           string_length(first) == 45 && (type_of_map(map_of(first)) & kStringTypes) == kRope &&
           s.says(word(first, kStringFirst), "abcdefghijklmnopqrstuvwxyz") &&
           s.says(word(first, kStringSecond), "and so it goes on: ");
}

bool objects_lie_so(const Samples &s)
{
    Plain p;
    if (!s.is_plain("plain", &p) || p.n != 6 || !s.says(p.name(0), "a") ||
        !s.says(p.name(5), "f") || p.value(0) != static_cast<Address>(as_small(1)) ||
        is_small(p.value(1)) || map_of(p.value(1)) != known.number_map ||
        number(p.value(1)) != 2.5 || !s.says(p.value(2), "x") || p.value(3) != known.null ||
        p.value(4) != static_cast<Address>(as_small(-7)) || p.value(5) != known.yes)
        return false;
    for (const char *name : {"many", "grown"}) {
        if (!s.is_plain(name, &p) || p.n != 12 || !s.says(p.name(11), "p11") ||
            !s.says(p.value(11), "last"))
            return false;
        for (uint32_t i = 0; i < 11; i++)
            if (p.value(i) != static_cast<Address>(as_small(static_cast<int32_t>(i) * 100)))
                return false;
    }
    if (!s.is_plain("frozen", &p) || p.n != 1 || !s.is_plain("bare", &p) || p.n != 0)
        return false;
    for (const char *name : {"null", "getter", "setter", "hidden", "slow",  "indexed", "symbol",
                             "made", "heir",   "map",    "date",   "error", "proxy",   "call",
                             "list", "args",   "bytes",  "small",  "text",  "half"})
        if (s.is_plain(name, &p))
            return false;
    return true;
}

bool arrays_lie_so(const Samples &s)
{
    Items a;
    if (!s.has_items("small", Items::Small, 3, &a) || small(a.any()[0]) != 1 ||
        small(a.any()[1]) != -2 || small(a.any()[2]) != 3000000)
        return false;
    double d[2];
    if (!s.has_items("doubles", Items::Doubles, 2, &a) ||
        (memcpy(d, a.doubles(), sizeof(d)), d[0] != 1.5 || d[1] != -2.5))
        return false;
    if (!s.has_items("any", Items::Any, 3, &a) || !s.says(a.any()[0], "x") ||
        a.any()[1] != static_cast<Address>(as_small(1)) || number(a.any()[2]) != 2.5)
        return false;
    if (!s.has_items("holes", Items::Small, 3, &a) || !is_hole(a.any()[1]) || is_hole(a.any()[0]) ||
        !s.has_items("gaps", Items::Doubles, 3, &a) || a.doubles()[1] != known.double_hole ||
        a.doubles()[0] == known.double_hole)
        return false;
    if (!s.has_items("mixed", Items::Any, 2, &a) || a.any()[1] != known.undefined ||
        !s.has_items("fixed", Items::Any, 2, &a) || !s.says(a.any()[0], "x") ||
        !s.has_items("sealed", Items::Any, 2, &a) || !s.says(a.any()[1], "x") ||
        !s.has_items("none", Items::Small, 0, &a))
        return false;
    for (const char *name : {"sparse", "args", "bytes", "plain", "map"}) {
        Address o = s.at(name);
        if (items(o, map_of(o), &a))
            return false;
    }
    return true;
}

bool values_lie_so(v8::Isolate *isolate, const Samples &s)
{
    return map_of(s.at("big")) == known.number_map && number(s.at("big")) == 1099511627776.0 &&
           number(s.at("half")) == 0.5 && known.undefined != known.null && known.yes != known.no &&
           borrowed(&known.undefined)->IsUndefined() && handle(isolate, s.at("date"))->IsDate() &&
           !is_hole(known.undefined) && !is_hole(known.null) && !is_hole(known.yes) &&
           !is_hole(known.no);
}

// Writing, read again by V8 itself.
bool stores_lie_so(v8::Isolate *isolate, v8::Local<v8::Context> context)
{
    constexpr uint32_t n = 20;
    v8::Local<v8::Array> small_ones, doubles;
    if (!room_for(context, model(isolate, context, "[0]"), n).ToLocal(&small_ones) ||
        !room_for(context, model(isolate, context, "[0.5]"), n).ToLocal(&doubles))
        return false;
    if (int64_t *to = small_store(small_ones, n))
        for (uint32_t i = 0; i < n; i++)
            to[i] = as_small(static_cast<int32_t>(i) - 5);
    else
        return false;
    if (uint64_t *to = double_store(doubles, n))
        for (uint32_t i = 0; i < n; i++) {
            double d = i / 4.0;
            memcpy(&to[i], &d, sizeof(d));
        }
    else
        return false;
    for (uint32_t i = 0; i < n; i++) {
        v8::Local<v8::Value> a, b;
        if (!small_ones->Get(context, i).ToLocal(&a) || !doubles->Get(context, i).ToLocal(&b) ||
            !a->IsInt32() || a.As<v8::Int32>()->Value() != static_cast<int32_t>(i) - 5 ||
            !b->IsNumber() || b.As<v8::Number>()->Value() != i / 4.0)
            return false;
    }
    return small_store(doubles, n) == nullptr && double_store(small_ones, n) == nullptr &&
           small_store(small_ones, n - 1) == nullptr;
}

} // namespace

void learn(v8::Isolate *isolate, v8::Local<v8::Context> context)
{
    static_assert(!v8::internal::PointerCompressionIsEnabled() &&
                  v8::internal::SmiValuesAre32Bits());
    v8::HandleScope scope(isolate);
    v8::TryCatch quiet(isolate);
    Samples s(isolate, context);
    known = {};
    if (!s.make() || !take_roots(isolate, s))
        return;
    known.ok = values_lie_so(isolate, s) && strings_lie_so(s) && objects_lie_so(s) &&
               arrays_lie_so(s) && stores_lie_so(isolate, context);
}

v8::Local<v8::Array> model(v8::Isolate *isolate, v8::Local<v8::Context> context, const char *json)
{
    v8::Local<v8::Value> value;
    return v8::JSON::Parse(context, isola::text(isolate, json)).ToLocal(&value) && value->IsArray()
               ? value.As<v8::Array>()
               : v8::Array::New(isolate);
}

v8::MaybeLocal<v8::Array> room_for(v8::Local<v8::Context> context, v8::Local<v8::Array> model,
                                   uint32_t n)
{
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    v8::Local<v8::Array> array = model->Clone(isolate).As<v8::Array>();
    if (!array
             ->Set(
                 context,
                 isola::text(isolate, isola_slice_str("length"), v8::NewStringType::kInternalized),
                 v8::Integer::NewFromUnsigned(isolate, n))
             .FromMaybe(false))
        return {};
    return array;
}

// The items of an array of this kind that has room for n of them.
static Address store(v8::Local<v8::Array> array, Items::Kind kind, uint32_t n)
{
    Items a;
    Address o = address(array);
    return items(o, map_of(o), &a) && a.kind == kind && a.n == n &&
                   map_of(a.items) != known.shared_items_map
               ? a.items - v8::internal::kHeapObjectTag + kItems
               : 0;
}
int64_t *small_store(v8::Local<v8::Array> array, uint32_t n)
{
    return reinterpret_cast<int64_t *>(store(array, Items::Small, n));
}
uint64_t *double_store(v8::Local<v8::Array> array, uint32_t n)
{
    return reinterpret_cast<uint64_t *>(store(array, Items::Doubles, n));
}

} // namespace isola::heap
