// SPDX-License-Identifier: Apache-2.0
//
// Isolates as actors/v8 makes them, in a plain Node.js process, for conformance tests and
// measurements: no actors, no agent.
//
//   open(heap, external) → id (limits in MB, or none)
//
//   close(id), heap(id) → bytes of its heap in use
//
//   run(id, name, code) → { error: string | undefined, log: [{ level, text }] }
//
//   encode(id, text, direct) → { bytes } or { code, message }: what `text` makes, a function of
//   `ref(address)` that returns an args array, as bytes in hex (of more than a MB: how many, and a
//   hash); not `direct`: by V8's interface alone
//
//   recode(id, bytes, direct) → the same of an args array that is decoded, or
//   { message: "malformed" }
//
//   readable() → are plain values read where they lie (actors/v8/heap.hh)?
//
//   starve(n), ahead(bytes), footprint(id): below
//
// `run` loads `code` as an ES module and goes on until nothing is left to do. Time is virtual: when
// an isolate waits for timers only, the clock of the timers jumps to the next one, so nothing here
// waits. `error` is why the module failed, or the first crash.
#include <sys/mman.h>
#include <unistd.h>
#include <v8-internal.h>

#include <list>
#include <map>
#include <string>
#include <vector>

#include "actors/v8/ahead.hh"
#include "actors/v8/footprint.hh"
#include "actors/v8/heap.hh"
#include "actors/v8/realm.h"
#include "base/msgpack.h"
#include "tests/isolate/addon.hh"

// In place of what the codec grows its buffers with (CMakeLists.txt): see starve().
extern "C" void *__real_realloc(void *p, size_t n);
extern "C" void *__wrap_realloc(void *p, size_t n);

static unsigned due;  // so many more, and one finds no memory; 0: none will
static bool hungered; // one has found none

void *__wrap_realloc(void *p, size_t n)
{
    if (due > 0 && --due == 0) {
        hungered = true;
        return nullptr;
    }
    return __real_realloc(p, n);
}

namespace
{

using Slice = struct isola_slice; // in C++ the function of this name hides the type
using addon::Info, addon::text;

constexpr uint64_t kEndOfTime = 3600 * 1000; // ms of virtual time a script may spend
constexpr int kSteps = 1000000;              // and timers that may fire

struct Timer {
    uint64_t at, period;
};

struct Probe {
    isola_v8 *v8 = nullptr;
    std::list<std::string> codes; // its isolate reads them where they are
    std::map<uint64_t, Timer> timers;
    uint64_t now = 0, next_id = 1;
    bool tasks = false, failed = false;
    std::string error;
    std::vector<std::pair<int, std::string>> log;

    void fail(Slice text)
    {
        if (!failed)
            error.assign(reinterpret_cast<const char *>(text.data), text.len);
        failed = true;
    }
};

Probe *probe_of(void *arg)
{
    return static_cast<Probe *>(arg);
}

void op_wake(void *arg)
{
    probe_of(arg)->tasks = true;
}
void op_wake_later(void *, uint64_t) {}
uint32_t op_refer(void *, Slice, uint32_t *, isola_err *)
{
    return 1;
}
bool op_congested(void *, uint32_t)
{
    return false;
}
bool op_crowded(void *)
{
    return false;
}
void op_drains(void *, bool) {}
void op_drained(void *) {}
void op_expects(void *, const uint32_t *, uint32_t) {}
int op_send(void *, const isola_v8_send *, uint64_t *, isola_err *err)
{
    return isola_fail(err, ISOLA_EPERM, "nothing can be sent from here");
}
bool op_heard(void *, uint32_t, Slice)
{
    return false;
}
void op_publish(void *, uint32_t, uint32_t, Slice, Slice) {}
bool op_trace(void *, uint32_t, uint32_t, isola_buf *)
{
    return false;
}
void op_done(void *, uint32_t, uint32_t, bool, Slice, void **) {}
void op_upgrades(void *, uint32_t) {}
void op_activated(void *, uint32_t, Slice) {}
void op_crash(void *arg, uint32_t, Slice text)
{
    probe_of(arg)->fail(text);
}
void op_log(void *arg, uint32_t, isola_log_level level, Slice text)
{
    probe_of(arg)->log.emplace_back(
        level, std::string(reinterpret_cast<const char *>(text.data), text.len));
}
uint64_t op_timer_set(void *arg, uint32_t, uint64_t ms, bool repeat)
{
    Probe *p = probe_of(arg);
    p->timers[p->next_id] = {p->now + ms, repeat ? ms : 0};
    return p->next_id++;
}
void op_timer_clear(void *arg, uint64_t id)
{
    probe_of(arg)->timers.erase(id);
}
void op_looked(void *, uint32_t) {}
void op_loaded(void *arg, Slice, Slice error)
{
    Slice value;
    struct isola_mp_error e;
    if (error.len == 0)
        return;
    if (!isola_mp_at(error, 0, &value) || !isola_mp_read_error(value, &e))
        probe_of(arg)->fail(isola_slice_str("it threw something that is no Error"));
    else
        probe_of(arg)->fail(e.stack.len > 0 ? e.stack : e.message);
}

int op_io_start(void *, uint32_t, bool, Slice, Slice, Slice, uint64_t *, isola_err *err)
{
    return isola_fail(err, ISOLA_EPERM, "nothing is outside of here");
}
void op_io(void *, uint64_t) {}

const isola_v8_ops ops = {
    .wake = op_wake,
    .wake_later = op_wake_later,
    .refer = op_refer,
    .congested = op_congested,
    .crowded = op_crowded,
    .drains = op_drains,
    .drained = op_drained,
    .expects = op_expects,
    .send = op_send,
    .heard = op_heard,
    .publish = op_publish,
    .trace = op_trace,
    .unheard = [](void *, uint32_t, uint32_t) {},
    .done = op_done,
    .upgrades = op_upgrades,
    .activated = op_activated,
    .crash = op_crash,
    .log = op_log,
    .timer_set = op_timer_set,
    .timer_clear = op_timer_clear,
    .looked = op_looked,
    .loaded = op_loaded,
    .place = nullptr,
    .env = [](void *) -> Slice { return {}; },
    .secrets = [](void *) -> Slice { return {}; },
    .io_start = op_io_start,
    .io_more = op_io,
    .io_cancel = op_io,
};

std::map<uint32_t, Probe *> probes;
uint32_t next_probe = 1;

struct Step {
    Probe *probe;
    std::string name, code;
};

void load(isola_js *js, void *arg)
{
    auto *s = static_cast<Step *>(arg);
    const std::string &code = s->probe->codes.emplace_back(std::move(s->code));
    (void)isola_js_load(js, isola_slice_str("Script"), isola_slice(code.data(), code.size()),
                        isola_slice(s->name.data(), s->name.size()), {});
}

// One step: V8's tasks or the timer that is next. False when there is nothing to do.
void step(isola_js *js, void *arg)
{
    Probe *p = probe_of(arg);
    if (p->tasks) {
        p->tasks = false;
        isola_js_tasks(js);
        return;
    }
    auto due = p->timers.begin();
    for (auto t = p->timers.begin(); t != p->timers.end(); ++t)
        if (t->second.at < due->second.at)
            due = t;
    uint64_t id = due->first;
    p->now = due->second.at;
    if (due->second.period != 0)
        due->second.at += due->second.period;
    else
        p->timers.erase(due);
    isola_js_timer(js, 0, id);
}

Probe *of(Info info)
{
    auto at = info[0]->IsUint32() ? probes.find(info[0].As<v8::Uint32>()->Value()) : probes.end();
    if (at != probes.end())
        return at->second;
    addon::throw_error(info.GetIsolate(), "no such isolate");
    return nullptr;
}

void open(Info info)
{
    auto *p = new Probe;
    isola_err err{};
    isola_v8_limits limits{};
    if (info[0]->IsUint32() && info[1]->IsUint32()) {
        limits.heap = uint64_t{info[0].As<v8::Uint32>()->Value()} << 20;
        limits.external = uint64_t{info[1].As<v8::Uint32>()->Value()} << 20;
    }
    if (isola_v8_open(&ops, p, limits, nullptr, &p->v8, &err) != 0) {
        delete p;
        addon::throw_error(info.GetIsolate(), err.text);
        return;
    }
    probes[next_probe] = p;
    info.GetReturnValue().Set(next_probe++);
}

void close(Info info)
{
    Probe *p = of(info);
    if (p == nullptr)
        return;
    isola_v8_close(p->v8);
    probes.erase(info[0].As<v8::Uint32>()->Value());
    delete p;
}

void heap(Info info)
{
    size_t bytes = 0;
    if (Probe *p = of(info)) {
        isola_v8_visit(
            p->v8, [](isola_js *js, void *arg) { *static_cast<size_t *>(arg) = isola_js_heap(js); },
            &bytes);
        info.GetReturnValue().Set(static_cast<double>(bytes));
    }
}

void run(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    Probe *p = of(info);
    if (p == nullptr)
        return;
    Step s{p, *v8::String::Utf8Value(isolate, info[1]),
           std::string(*v8::String::Utf8Value(isolate, info[2])) + "\nexport default () => {};\n"};
    p->failed = false;
    p->error.clear();
    p->log.clear();
    isola_v8_visit(p->v8, load, &s);
    for (int i = 0;
         i < kSteps && !p->failed && p->now < kEndOfTime && (p->tasks || !p->timers.empty()); i++)
        isola_v8_visit(p->v8, step, p);
    if (!p->failed && !p->timers.empty())
        p->fail(isola_slice_str("it never ends"));
    p->timers.clear();
    v8::Local<v8::Array> log = v8::Array::New(isolate);
    for (auto &[level, line] : p->log) {
        v8::Local<v8::Object> entry = v8::Object::New(isolate);
        entry->Set(context, text(isolate, "level"), v8::Integer::New(isolate, level)).Check();
        entry->Set(context, text(isolate, "text"), text(isolate, line)).Check();
        log->Set(context, log->Length(), entry).Check();
    }
    v8::Local<v8::Object> result = v8::Object::New(isolate);
    if (p->failed)
        result->Set(context, text(isolate, "error"), text(isolate, p->error)).Check();
    result->Set(context, text(isolate, "log"), log).Check();
    info.GetReturnValue().Set(result);
}

// --- values and bytes ---

struct Coding {
    std::string in;
    bool direct, decode;
    std::string bytes, code, message;
};

void make_ref(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    isola_js js{isola::from(isolate), isolate->GetCurrentContext()};
    v8::String::Utf8Value address(isolate, info[0]);
    isola_buf bytes{};
    v8::Local<v8::Value> ref;
    isola_mp_ext(&bytes, ISOLA_EXT_REF,
                 isola_slice(*address, static_cast<size_t>(address.length())));
    if (isola::decode(&js, isola_buf_slice(&bytes)).ToLocal(&ref))
        info.GetReturnValue().Set(ref);
    isola_buf_free(&bytes);
}

void collect(Info info)
{
    info.GetIsolate()->RequestGarbageCollectionForTesting(
        info[0]->IsTrue() ? v8::Isolate::kFullGarbageCollection
                          : v8::Isolate::kMinorGarbageCollection);
}

v8::MaybeLocal<v8::Value> value_of(isola_js *js, const Coding &c)
{
    v8::Isolate *isolate = js->isolate();
    Slice in = isola_slice(c.in.data(), c.in.size());
    if (c.decode) {
        v8::Local<v8::Array> args;
        if (isola::decode_args(js, in).ToLocal(&args))
            return args;
        return {};
    }
    v8::Local<v8::Script> script;
    v8::Local<v8::Value> make;
    v8::Local<v8::Function> ref, gc;
    if (!v8::Script::Compile(js->context, isola::text(isolate, in)).ToLocal(&script) ||
        !script->Run(js->context).ToLocal(&make) || !make->IsFunction() ||
        !v8::Function::New(js->context, make_ref).ToLocal(&ref) ||
        !v8::Function::New(js->context, collect).ToLocal(&gc))
        return {};
    v8::Local<v8::Value> args[] = {ref, gc};
    return make.As<v8::Function>()->Call(js->context, v8::Undefined(isolate), 2, args);
}

void code_value(isola_js *js, void *arg)
{
    auto *c = static_cast<Coding *>(arg);
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(isolate);
    v8::Local<v8::Value> value;
    isola_buf out{};
    bool known = isola::heap::known.ok;
    isola::heap::known.ok = known && c->direct;
    bool made = value_of(js, *c).ToLocal(&value);
    if (made && isola::encode(js, value, isola::Wrap::Value, &out)) {
        c->bytes.assign(reinterpret_cast<const char *>(out.data), out.len);
    } else if (caught.HasCaught() && caught.Exception()->IsObject()) {
        auto error = caught.Exception().As<v8::Object>();
        for (auto &[name, to] : {std::pair{"code", &c->code}, std::pair{"message", &c->message}}) {
            v8::Local<v8::Value> said;
            if (error->Get(js->context, isola::text(isolate, name)).ToLocal(&said))
                *to = isola::utf8(isolate, said);
        }
    } else {
        c->message = made ? "it failed, and nothing was thrown" : "malformed";
    }
    isola::heap::known.ok = known;
    isola_buf_free(&out);
}

void result_of(Info info, const Coding &c)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    v8::Local<v8::Object> result = v8::Object::New(isolate);
    constexpr size_t kShown = 1 << 20;
    std::string hex;
    if (c.bytes.size() > kShown)
        hex = std::to_string(c.bytes.size()) + " bytes, " +
              std::to_string(std::hash<std::string>{}(c.bytes));
    for (char b : c.bytes.size() > kShown ? std::string() : c.bytes)
        for (int half : {b >> 4 & 15, b & 15})
            hex += "0123456789abcdef"[half];
    const std::pair<const char *, const std::string &> parts[] = {
        {"bytes", hex}, {"code", c.code}, {"message", c.message}};
    for (auto &[name, part] : parts)
        if (!part.empty())
            result->Set(context, text(isolate, name), text(isolate, part)).Check();
    info.GetReturnValue().Set(result);
}

void encode(Info info)
{
    Probe *p = of(info);
    if (p == nullptr)
        return;
    Coding c{
        *v8::String::Utf8Value(info.GetIsolate(), info[1]), info[2]->IsTrue(), false, {}, {}, {}};
    isola_v8_visit(p->v8, code_value, &c);
    result_of(info, c);
}

void recode(Info info)
{
    Probe *p = of(info);
    if (p == nullptr)
        return;
    v8::String::Utf8Value hex(info.GetIsolate(), info[1]);
    Coding c{{}, info[2]->IsTrue(), true, {}, {}, {}};
    for (size_t i = 0; i + 1 < static_cast<size_t>(hex.length()); i += 2) {
        const char digits[] = {(*hex)[i], (*hex)[i + 1], 0};
        c.in += static_cast<char>(strtol(digits, nullptr, 16));
    }
    isola_v8_visit(p->v8, code_value, &c);
    result_of(info, c);
}

void readable(Info info)
{
    info.GetReturnValue().Set(isola::heap::readable(info.GetIsolate()));
}

// starve(n): the nth buffer that grows from now on finds no memory; 0: none. Whether one has found
// none since it was called last.
void starve(Info info)
{
    due = info[0]->Uint32Value(info.GetIsolate()->GetCurrentContext()).FromJust();
    info.GetReturnValue().Set(hungered);
    hungered = false;
}

// ahead(bytes): a message for an actor whose handler has so many bytes, behind which memory ends.
void ahead(Info info)
{
    constexpr uint32_t kSize = 64, kSerial = 7;
    constexpr int kHandler = 2; // of the entry's fields, behind its header of three words
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const auto bytes = static_cast<size_t>(info[0]->Uint32Value(context).FromJust());
    void *at = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(static_cast<char *>(at) + page, page, PROT_NONE) != 0)
        abort();
    v8::Local<v8::Object> entry = v8::Object::New(isolate);
    entry->Set(context, text(isolate, "serial"), v8::Integer::New(isolate, kSerial)).Check();
    for (const char *name : {"found", "handler"})
        entry->Set(context, text(isolate, name), v8::Undefined(isolate)).Check();
    v8::Local<v8::Value> entries[kSize];
    for (v8::Local<v8::Value> &e : entries)
        e = v8::Undefined(isolate);
    entries[kSerial] = entry;
    isola::Ahead ahead;
    ahead.use(isolate, v8::Array::New(isolate, entries, kSize), kSize, kSerial, entry);
    // An object begins one byte before its address.
    using v8::internal::Address;
    auto *fields =
        reinterpret_cast<Address *>(v8::internal::ValueHelper::ValueAsAddress(*entry) - 1) + 3;
    const Address handler = fields[kHandler];
    const uint32_t serials[] = {kSerial, kSerial + 1, kSerial + kSize};
    fields[kHandler] = reinterpret_cast<Address>(at) + page - bytes + 1;
    if (ahead.is_used())
        ahead.look(serials, 3);
    fields[kHandler] = handler;
    info.GetReturnValue().Set(ahead.is_used());
    munmap(at, 2 * page);
}

// footprint(id) → [lines that a visit of the isolate needs, lines of a function]: of one that is
// where memory ends, as is what it refers to, and that has a number in it which looks like an
// object.
void footprint(Info info)
{
    using v8::internal::Address;
    Probe *p = of(info);
    if (p == nullptr)
        return;
    constexpr unsigned kLines = 400;
    const void *lines[kLines];
    unsigned counts[4] = {0, 0, 0, 0};
    isola_v8_visit(
        p->v8,
        [](isola_js *js, void *arg) {
            const void *all[kLines];
            *static_cast<unsigned *>(arg) = isola_js_footprint(js, all, kLines);
        },
        &counts[0]);
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Context> context = isolate->GetCurrentContext();
    v8::Local<v8::Function> real = v8::Function::New(context, footprint).ToLocalChecked();
    const Address from = v8::internal::ValueHelper::ValueAsAddress(*real) - 1;
    const auto bytes = isola::heap::plain_field<uint8_t>(*reinterpret_cast<Address *>(from),
                                                         isola::heap::kMapSize) *
                       sizeof(Address);
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void *at = mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto end = reinterpret_cast<Address>(at) + page, other = end + 2 * page;
    if (at == MAP_FAILED || mprotect(reinterpret_cast<void *>(end), page, PROT_NONE) != 0 ||
        mprotect(reinterpret_cast<void *>(other), page, PROT_NONE) != 0)
        abort();
    auto *copy = reinterpret_cast<Address *>(end - bytes);
    memcpy(copy, reinterpret_cast<void *>(from), bytes);
    copy[3] = other - 2 * sizeof(Address) + 1; // an object of two words
    copy[4] = 0x12345;
    isola::Footprint f(lines, kLines, from + 1);
    f.add_function(isolate, end - bytes + 1, 2);
    counts[1] = f.count();
    munmap(at, 4 * page);
    const v8::Local<v8::Value> calls = info[1];
    for (int deep = 0; deep < 2; deep++) { // without and with what it calls
        isola::Footprint of(lines, kLines, from + 1);
        of.add_function(isolate, isola::heap::address(calls), deep);
        counts[2 + deep] = of.count();
    }
    v8::Local<v8::Array> result = v8::Array::New(isolate);
    for (uint32_t i = 0; i < 4; i++)
        result->Set(context, i, v8::Integer::NewFromUnsigned(isolate, counts[i])).Check();
    info.GetReturnValue().Set(result);
}

} // namespace

NODE_MODULE_INIT()
{
    (void)module;
    isola_err err{};
    if (addon::start(context, &err) != 0)
        return addon::throw_error(v8::Isolate::GetCurrent(), err.text);
    addon::provide(context, exports,
                   {{"open", open},
                    {"close", close},
                    {"heap", heap},
                    {"run", run},
                    {"ahead", ahead},
                    {"footprint", footprint},
                    {"encode", encode},
                    {"recode", recode},
                    {"readable", readable},
                    {"starve", starve}});
}
