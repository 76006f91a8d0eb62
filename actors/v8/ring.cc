// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/ring.hh"

#include <cmath>

#include "actors/v8/internal.hh"
#include "base/check.h"
#include "base/hash.h"
#include "base/msg.h"
#include "base/msgpack.h"

namespace isola
{

// Encoded values of what goes, beyond which it is handed on.
static constexpr size_t kEncodedMax = 1u << 20;
static constexpr size_t kEncodedKept = 64u << 10;
// A value that is not copied from where it was encoded, and what may be left over there.
static constexpr size_t kLarge = ISOLA_VALUES_LARGE, kLeftOver = 4u << 10;
// Records for what goes, for each for what comes: room for all a turn sends, as a rule, since what
// does not fit waits for its end in larger ones. It is only memory once it is used.
static constexpr uint32_t kOutgoing = 16;
// The ring of a snapshot (lib/runtime/ring.js).
static constexpr uint32_t kSmall = 16;

/* --- names --- */

uint32_t *Names::place(Slice name, uint64_t hash)
{
    size_t mask = table_.size() - 1, i = hash & mask;
    while (table_[i] != 0 && !isola_slice_eq(this->name(table_[i]), name))
        i = (i + 1) & mask;
    return &table_[i];
}

void Names::grow()
{
    table_.assign(table_.empty() ? 16 : table_.size() * 2, 0);
    for (uint32_t n = 1; n <= count(); n++)
        *place(name(n), isola_hash_table(names_[n - 1].data(), names_[n - 1].size())) = n;
}

void Names::add_to(Footprint *f) const
{
    if (last_ == 0)
        return;
    f->add(&names_[last_ - 1], sizeof(names_[0]));
    f->add(names_[last_ - 1].data());
}

uint32_t Names::number(Slice name)
{
    if (last_ != 0 && isola_slice_eq(this->name(last_), name))
        return last_;
    if (table_.size() < 2 * (size_t{count()} + 1))
        grow();
    uint32_t *at = place(name, isola_hash_table(name.data, name.len));
    if (*at == 0) {
        if (count() >= kMax || name.len > kLongest || !ascii_only(name))
            return 0;
        names_.emplace_back(reinterpret_cast<const char *>(name.data), name.len);
        *at = count();
    }
    last_ = *at;
    return last_;
}

Slice Names::name(uint32_t number) const
{
    const std::string &s = names_[number - 1];
    return isola_slice(s.data(), s.size());
}

/* --- the memory --- */

Ring::~Ring()
{
    drop_own(own.size());
    isola_buf_free(&encoded);
    isola_buf_free(&coder);
}

void Ring::use(std::shared_ptr<v8::BackingStore> memory, uint32_t in, uint32_t out)
{
    store = std::move(memory);
    ints = static_cast<int32_t *>(store->Data());
    incoming = in;
    outgoing = out;
    mails.resize(in);
}

bool take_ring(isola_js *js, v8::Local<v8::Value> memory)
{
    if (!memory->IsArrayBuffer() ||
        memory.As<v8::ArrayBuffer>()->ByteLength() < Ring::bytes(kSmall, kSmall))
        return false;
    js->v->memory.Reset(js->isolate(), memory.As<v8::ArrayBuffer>());
    js->v->ring.use(memory.As<v8::ArrayBuffer>()->GetBackingStore(), kSmall, kSmall);
    return true;
}

bool grow_ring(isola_js *js, uint32_t batch)
{
    v8::Isolate *isolate = js->isolate();
    Ring &ring = js->v->ring;
    if (batch <= kSmall)
        return true;
    uint32_t outgoing = kOutgoing * batch;
    v8::Local<v8::ArrayBuffer> buffer;
    if (!v8::ArrayBuffer::MaybeNew(isolate, Ring::bytes(batch, outgoing)).ToLocal(&buffer))
        return false;
    ring.use(buffer->GetBackingStore(), batch, outgoing);
    v8::Local<v8::Value> argv[] = {buffer, v8::Integer::NewFromUnsigned(isolate, batch),
                                   v8::Integer::NewFromUnsigned(isolate, outgoing)};
    return !js->v->hooks[HOOK_USE]
                .Get(isolate)
                ->Call(js->context, v8::Undefined(isolate), 3, argv)
                .IsEmpty();
}

/* --- what goes --- */

// The memory of a value that has been encoded, without what it does not use.
static Ring::Own own(isola_buf *b)
{
    if (b->cap - b->len > kLeftOver)
        if (void *less = realloc(b->data, b->len)) {
            b->data = static_cast<uint8_t *>(less);
            b->cap = b->len;
        }
    Ring::Own o{b->data, isola_slice(b->data + ISOLA_MSG_BEFORE, b->len - ISOLA_MSG_BEFORE)};
    *b = {};
    return o;
}

void Ring::drop_own(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        own_bytes -= own[i].args.len;
        free(own[i].memory);
    }
    own.erase(own.begin(), own.begin() + static_cast<ptrdiff_t>(n));
}

// Of a record whose value is large.
Ring::Own *Ring::own_of(const int32_t *r)
{
    if (r[kTag] != kEncoded || static_cast<size_t>(r[kValue + 1]) < kLarge)
        return nullptr;
    uint32_t i;
    memcpy(&i, encoded.data + r[kValue] + r[kEventLength], sizeof(i));
    ISOLA_CHECK(i < own.size());
    return &own[i];
}

void **Ring::memory_of(const int32_t *r)
{
    Own *own = own_of(r);
    return own != nullptr ? &own->memory : nullptr;
}

void keep_encoded(isola_js *js, Slice name, isola_buf *b)
{
    Ring &ring = js->v->ring;
    size_t n = b->len > ISOLA_MSG_BEFORE ? b->len - ISOLA_MSG_BEFORE : 0;
    ring.ints[Ring::kWaits] = 0;
    if (static_cast<uint32_t>(ring.ints[Ring::kSent]) >= ring.outgoing ||
        ring.encoded.len + ring.own_bytes > kEncodedMax)
        drain(js);
    ring.ints[Ring::kOffset] = static_cast<int32_t>(ring.encoded.len);
    ring.ints[Ring::kLength] = static_cast<int32_t>(n);
    ring.ints[Ring::kNameLength] = static_cast<int32_t>(name.len);
    isola_buf_append(&ring.encoded, name.data, name.len);
    if (n >= kLarge) {
        auto place = static_cast<uint32_t>(ring.own.size());
        isola_buf_append(&ring.encoded, &place, sizeof(place));
        ring.own.push_back(own(b));
        ring.own_bytes += n;
    } else {
        isola_buf_append(&ring.encoded, b->data + ISOLA_MSG_BEFORE, n);
    }
    ring.ints[Ring::kWaits] = 1;
}

// The args array of a record, for as long as neither buffer changes. What most messages have is
// there already.
static Slice args_of(Ring *ring, const int32_t *r)
{
    static const uint8_t none[] = {0x90}, null[] = {0x91, 0xc0}, no[] = {0x91, 0xc2},
                         yes[] = {0x91, 0xc3}, undefined[] = {0x91, 0xc7, 0, ISOLA_EXT_UNDEFINED};
    isola_buf *b = &ring->coder;
    double d;
    switch (r[Ring::kTag]) {
    case Ring::kEncoded:
        if (const Ring::Own *own = ring->own_of(r))
            return own->args;
        return isola_slice(ring->encoded.data + r[Ring::kValue] + r[Ring::kEventLength],
                           static_cast<size_t>(r[Ring::kValue + 1]));
    case Ring::kNone:
        return isola_slice(none, sizeof(none));
    case Ring::kUndefined:
        return isola_slice(undefined, sizeof(undefined));
    case Ring::kNull:
        return isola_slice(null, sizeof(null));
    case Ring::kFalse:
        return isola_slice(no, sizeof(no));
    case Ring::kTrue:
        return isola_slice(yes, sizeof(yes));
    default:
        break;
    }
    b->len = 0;
    isola_mp_array(b, 1);
    if (r[Ring::kTag] == Ring::kBytes) {
        isola_mp_bin(b, isola_slice(ring->place_of(r), static_cast<size_t>(r[Ring::kValue])));
        return isola_buf_slice(b);
    }
    if (r[Ring::kTag] == Ring::kInteger) {
        isola_mp_int(b, r[Ring::kValue]);
        return isola_buf_slice(b);
    }
    memcpy(&d, r + Ring::kValue, sizeof(d));
    if (d == std::floor(d) && std::fabs(d) <= 9007199254740991.0 && !(d == 0 && std::signbit(d)))
        isola_mp_int(b, static_cast<int64_t>(d));
    else
        isola_mp_double(b, d);
    return isola_buf_slice(b);
}

static void send(isola_js *js, const int32_t *r)
{
    isola_v8 *v = js->v;
    Ring &ring = v->ring;
    isola_v8_send s{};
    uint64_t ignored;
    isola_err err;
    s.actor = static_cast<uint32_t>(r[Ring::kFrom]);
    s.turn = static_cast<uint32_t>(r[Ring::kInTurn]);
    s.kind = r[Ring::kKind] == Ring::kAskSent ? ISOLA_MSG_ASK : ISOLA_MSG_EMIT;
    s.to = static_cast<uint32_t>(r[Ring::kTo]);
    if (r[Ring::kEvent] != 0)
        s.event = ring.names.name(static_cast<uint32_t>(r[Ring::kEvent]));
    else
        s.event = isola_slice(ring.encoded.data + r[Ring::kValue],
                              static_cast<size_t>(r[Ring::kEventLength]));
    s.args = args_of(&ring, r);
    s.memory = ring.memory_of(r);
    uint32_t slot = static_cast<uint32_t>(r[Ring::kSlot]),
             number = static_cast<uint32_t>(r[Ring::kAsk]);
    if (s.kind == ISOLA_MSG_ASK) {
        s.id = static_cast<uint64_t>(number) << ISOLA_ASK_SLOT_BITS | slot;
        s.timeout_ms = static_cast<uint32_t>(r[Ring::kTimeout]);
    }
    int code = slot >> ISOLA_ASK_SLOT_BITS != 0
                   ? isola_fail(&err, ISOLA_EOVERLOAD, "too many asks are under way")
                   : v->ops->send(v->arg, &s, &ignored, &err);
    if (code == 0 || s.kind != ISOLA_MSG_ASK)
        return;
    isola_buf why{};
    isola_mp_array(&why, 1);
    isola_mp_error(&why, code, err.text, nullptr);
    ring.unsent.push_back(
        {s.actor, slot, number, std::string(reinterpret_cast<const char *>(why.data), why.len)});
    isola_buf_free(&why);
}

// What the records that have gone had encoded; what has been encoded for the next one stays.
static void forget_encoded(Ring *ring)
{
    auto offset = static_cast<size_t>(ring->ints[Ring::kOffset]);
    size_t next = ring->ints[Ring::kWaits] != 0 ? ring->encoded.len - offset : 0;
    if (next > 0)
        memmove(ring->encoded.data, ring->encoded.data + offset, next);
    bool large = next > 0 && static_cast<size_t>(ring->ints[Ring::kLength]) >= kLarge;
    if (!ring->own.empty())
        ring->drop_own(ring->own.size() - large);
    if (large) {
        uint32_t place = 0;
        memcpy(ring->encoded.data + ring->ints[Ring::kNameLength], &place, sizeof(place));
    }
    ring->ints[Ring::kOffset] = 0;
    ring->encoded.len = next;
    if (next == 0 && ring->encoded.cap > kEncodedKept)
        isola_buf_free(&ring->encoded);
}

// Of the records from `k` on.
static void expect(const Ring *ring, const isola_v8 *v, uint32_t k, uint32_t n)
{
    uint32_t to[ISOLA_EXPECTED], count = 0;
    for (; k < n && count < ISOLA_EXPECTED; k++)
        if (ring->out(k)[Ring::kKind] <= Ring::kEmitSent)
            to[count++] = static_cast<uint32_t>(ring->out(k)[Ring::kTo]);
    v->ops->expects(v->arg, to, count);
}

// Tells of the messages whose turns ended when `sent` records had been, or fewer.
static void finish(isola_v8 *v, uint32_t ran, uint32_t sent)
{
    Ring &ring = v->ring;
    for (; ring.seen < ran; ring.seen++) {
        const int32_t *r = ring.in(ring.seen);
        if (r[Ring::kKind] != Ring::kFinished)
            continue;
        if (static_cast<uint32_t>(r[Ring::kBefore]) > sent)
            return;
        if (v->ops->finished != nullptr)
            v->ops->finished(v->arg, ring.seen, args_of(&ring, r), ring.memory_of(r));
        else
            v->ops->done(v->arg, static_cast<uint32_t>(r[Ring::kSerial]),
                         static_cast<uint32_t>(r[Ring::kNumber]), true, args_of(&ring, r),
                         ring.memory_of(r));
    }
}

// So many records have run.
static uint32_t ran(const Ring &ring)
{
    uint32_t n = static_cast<uint32_t>(ring.ints[Ring::kAt]) + (ring.runs ? 0 : 1);
    return n < ring.queued ? n : ring.queued;
}

void drain(isola_js *js, bool last)
{
    isola_v8 *v = js->v;
    Ring &ring = v->ring;
    if (ring.ints == nullptr)
        return;
    if (last)
        ring.ints[Ring::kBurst] = 0;
    auto n = static_cast<uint32_t>(ring.ints[Ring::kSent]);
    uint32_t came = ran(ring);
    if (n == 0 && ring.seen >= came)
        return;
    ring.ints[Ring::kSent] = 0;
    v->ops->drains(v->arg, last);
    for (uint32_t k = 0; k < n; k++) {
        const int32_t *r = ring.out(k);
        finish(v, came, k);
        if (k % ISOLA_EXPECTED == 0)
            expect(&ring, v, k, n);
        if (r[Ring::kKind] == Ring::kAskSent || r[Ring::kKind] == Ring::kEmitSent)
            send(js, r);
        else
            v->ops->done(v->arg, static_cast<uint32_t>(r[Ring::kFrom]),
                         static_cast<uint32_t>(r[Ring::kInTurn]), r[Ring::kKind] == Ring::kDone,
                         args_of(&ring, r), ring.memory_of(r));
    }
    finish(v, came, n);
    v->ops->drained(v->arg);
    forget_encoded(&ring);
    ring.ints[Ring::kCrowded] = v->ops->crowded(v->arg);
}

/* --- what comes --- */

// Puts the one value of an args array (or none) into a record, and its bytes into `place`; else how
// it is to be decoded.
static Ring::Tag put_value(int32_t *r, uint8_t *place, Slice args, Ring::Tag nothing)
{
    Reader reader = isola_mp_reader(args);
    isola_mp_item item;
    if (args.len == 0)
        return nothing;
    if (isola_mp_next(&reader, &item) != 0 || item.type != ISOLA_MP_ARRAY || item.n > 1)
        return Ring::kEncoded;
    if (item.n == 0)
        return reader.p == reader.end ? nothing : Ring::kEncoded;
    if (isola_mp_next(&reader, &item) != 0 || reader.p != reader.end)
        return Ring::kEncoded1;
    double d;
    switch (item.type) {
    case ISOLA_MP_NIL:
        return Ring::kNull;
    case ISOLA_MP_BOOL:
        return item.b ? Ring::kTrue : Ring::kFalse;
    case ISOLA_MP_UINT:
        if (item.u <= INT32_MAX) {
            r[Ring::kValue] = static_cast<int32_t>(item.u);
            return Ring::kInteger;
        }
        return Ring::kEncoded1;
    case ISOLA_MP_INT:
        if (item.i >= INT32_MIN) {
            r[Ring::kValue] = static_cast<int32_t>(item.i);
            return Ring::kInteger;
        }
        return Ring::kEncoded1;
    case ISOLA_MP_DOUBLE:
        d = item.d;
        memcpy(r + Ring::kValue, &d, sizeof(d));
        return Ring::kDouble;
    case ISOLA_MP_BIN:
        if (item.bytes.len > Ring::kPlace)
            return Ring::kEncoded1;
        memcpy(place, item.bytes.data, item.bytes.len);
        r[Ring::kValue] = static_cast<int32_t>(item.bytes.len);
        return Ring::kBytes;
    case ISOLA_MP_EXT:
        return item.ext == ISOLA_EXT_UNDEFINED && item.bytes.len == 0 ? Ring::kUndefined
                                                                      : Ring::kEncoded1;
    default:
        return Ring::kEncoded1;
    }
}

static int32_t *come(isola_js *js, Ring::Came kind, uint32_t actor, Slice args, isola_block *block,
                     Ring::Tag nothing)
{
    Ring &ring = js->v->ring;
    ISOLA_CHECK(ring.queued < ring.incoming);
    int32_t *r = ring.in(ring.queued);
    r[Ring::kKind] = kind;
    r[Ring::kTag] = put_value(r, ring.place(ring.queued), args, nothing);
    r[Ring::kWhose] = static_cast<int32_t>(actor);
    ring.mails[ring.queued].actor = actor;
    ring.mails[ring.queued].block = block;
    ring.mails[ring.queued++].args = args;
    return r;
}

static void look_ahead(const Ring *ring)
{
    uint32_t serials[Ahead::kMost], n = 0;
    if (!ring->ahead.is_used())
        return;
    for (uint32_t k = 0; k < ring->queued; k++) {
        const int32_t *r = ring->in(k);
        if (r[Ring::kKind] != Ring::kAsked && r[Ring::kKind] != Ring::kEmitted)
            continue;
        serials[n++] = static_cast<uint32_t>(r[Ring::kSerial]);
        if (n == Ahead::kMost) {
            ring->ahead.look(serials, n);
            n = 0;
        }
    }
    ring->ahead.look(serials, n);
}

static void fail_unsent(isola_js *js)
{
    std::vector<Ring::Unsent> all;
    all.swap(js->v->ring.unsent);
    v8::Isolate *isolate = js->isolate();
    for (const Ring::Unsent &u : all) {
        Entry in(js, u.actor, 0);
        if (!in)
            return;
        v8::HandleScope scope(isolate);
        v8::Local<v8::Value> error;
        if (!decode_first(js, isola_slice(u.why.data(), u.why.size())).ToLocal(&error))
            return;
        v8::Local<v8::Value> argv[] = {v8::Integer::NewFromUnsigned(isolate, u.slot),
                                       v8::Integer::NewFromUnsigned(isolate, u.number),
                                       v8::False(isolate), error};
        (void)call_hook(js, HOOK_SETTLE, 0, 4, argv);
    }
}

// Names that have come are told to JavaScript before they are used.
static bool tell_names(isola_js *js)
{
    v8::Isolate *isolate = js->isolate();
    Ring &ring = js->v->ring;
    for (; ring.told < ring.names.count(); ring.told++) {
        v8::HandleScope scope(isolate);
        v8::Local<v8::String> name;
        Slice bytes = ring.names.name(ring.told + 1);
        if (!v8::String::NewFromUtf8(isolate, reinterpret_cast<const char *>(bytes.data),
                                     v8::NewStringType::kInternalized, static_cast<int>(bytes.len))
                 .ToLocal(&name))
            return false;
        v8::Local<v8::Value> argv[] = {v8::Integer::NewFromUnsigned(isolate, ring.told + 1), name};
        if (js->v->hooks[HOOK_NAMED]
                .Get(isolate)
                ->Call(js->context, v8::Undefined(isolate), 2, argv)
                .IsEmpty())
            return false;
    }
    return true;
}

} // namespace isola

using namespace isola;

extern "C" {

void isola_js_deliver(struct isola_js *js, uint32_t actor, uint32_t turn, bool is_ask,
                      struct isola_slice event, struct isola_slice args, struct isola_block *block)
{
    Ring &ring = js->v->ring;
    int32_t *r = come(js, is_ask ? Ring::kAsked : Ring::kEmitted, actor, args, block, Ring::kNone);
    r[Ring::kSerial] = static_cast<int32_t>(actor);
    r[Ring::kNumber] = static_cast<int32_t>(turn);
    r[Ring::kName] = static_cast<int32_t>(ring.names.number(event));
    ring.mails[ring.queued - 1].event = event;
}

bool isola_js_settle(struct isola_js *js, uint32_t actor, uint64_t id, bool ok,
                     struct isola_slice args, struct isola_block *block)
{
    int32_t *r =
        come(js, ok ? Ring::kReplied : Ring::kRefused, actor, args, block, Ring::kUndefined);
    r[Ring::kSerial] = static_cast<int32_t>(ISOLA_ASK_SLOT(id));
    r[Ring::kNumber] = static_cast<int32_t>(id >> ISOLA_ASK_SLOT_BITS);
    return r[Ring::kTag] == Ring::kEncoded || r[Ring::kTag] == Ring::kEncoded1;
}

void isola_js_forget(struct isola_js *js, uint32_t record)
{
    if (record < js->v->ring.queued)
        js->v->ring.in(record)[Ring::kKind] = 0;
}

const int32_t *isola_js_at(struct isola_js *js)
{
    return &js->v->ring.ints[Ring::kAt];
}

bool isola_js_run(struct isola_js *js)
{
    isola_v8 *v = js->v;
    Ring &ring = v->ring;
    v8::Isolate *isolate = js->isolate();
    bool any = ring.queued > 0 || !ring.unsent.empty();
    fail_unsent(js);
    look_ahead(&ring);
    ring.seen = 0;
    for (uint32_t from = 0; from < ring.queued;) {
        ring.ints[Ring::kAt] = static_cast<int32_t>(from);
        Entry in(js, Entry::Batch{});
        if (!in)
            break;
        v8::HandleScope scope(isolate);
        v8::Local<v8::Value> argv[] = {v8::Integer::NewFromUnsigned(isolate, from),
                                       v8::Integer::NewFromUnsigned(isolate, ring.queued)};
        ring.runs = true;
        bool all =
            tell_names(js) && (v->lone.run(js) || !enter_hook(js, HOOK_RUN, 0, 2, argv).IsEmpty());
        ring.runs = false;
        from = all ? ring.queued : static_cast<uint32_t>(ring.ints[Ring::kAt]) + 1;
        after_entry(js);
    }
    ring.queued = 0;
    return any;
}

} // extern "C"
