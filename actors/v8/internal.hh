// SPDX-License-Identifier: Apache-2.0
//
// What the files of actors/v8 share. Nothing outside of this folder includes it.
#pragma once

#include <node.h>
#include <v8-snapshot.h>
#include <v8.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/v8/code.hh"
#include "actors/v8/limits.hh"
#include "actors/v8/lone.hh"
#include "actors/v8/realm.h"
#include "actors/v8/ring.hh"
#include "actors/v8/shapes.hh"
#include "base/msgpack.h"

namespace isola
{

// In C++ the functions of these names hide the types.
using Slice = struct isola_slice;
using Reader = struct isola_mp_reader;

class Tasks;      // tasks.cc
struct Profiling; // inspect.cc

// The hooks `boot` returns (actors/lib/runtime/main.js), in the order of hook_names in birth.cc.
enum Hook {
    HOOK_MAKE_REF,
    HOOK_LOAD,
    HOOK_ACTIVATE,
    HOOK_DEACTIVATE,
    HOOK_RUN,
    HOOK_USE,
    HOOK_NAMED,
    HOOK_EVENT,
    HOOK_SETTLE,
    HOOK_EXPIRE,
    HOOK_CANCELLED,
    HOOK_DROP_ASK,
    HOOK_ABORT,
    HOOK_TIMER,
    HOOK_WAIT,
    HOOK_HIBERNATE,
    HOOK_TICK,
    HOOK_BUILTIN,
    HOOK_IO,
    HOOK_WATCH,
    HOOK_LAZY,
    HOOK_STREAM,
    HOOK_COUNT
};

// Who waits for what is read of an actor's storage, and what of it was known (storage.cc).
struct Awaited {
    enum Shape { Nothing, Value, Count, Pairs, Page } shape;
    uint32_t actor;
    uint32_t count = 0;
    v8::Global<v8::Promise::Resolver> promise{};
    v8::Global<v8::Array> pairs{};
};

// platform.cc
v8::Isolate *new_isolate(Tasks *tasks, isola_v8_limits limits, const isola_v8_image *image,
                         std::shared_ptr<v8::ArrayBuffer::Allocator> buffers);
v8::Isolate::CreateParams platform_params();
const intptr_t *platform_references();
void unify_read_only(char *blob, size_t len);
void register_isolate(v8::Isolate *isolate, Tasks *tasks);
void dispose_isolate(v8::Isolate *isolate);

// tasks.cc: the foreground tasks of one isolate
std::unique_ptr<Tasks, void (*)(Tasks *)> make_tasks(const isola_v8_ops *ops, void *arg);
// Those of an isolate nobody had.
void adopt_tasks(Tasks *tasks, const isola_v8_ops *ops, void *arg);
void run_tasks(Tasks *tasks);
node::IsolatePlatformDelegate *delegate(Tasks *tasks);

} // namespace isola

struct isola_v8 {
    const isola_v8_ops *ops;
    void *arg;
    std::unique_ptr<isola::Tasks, void (*)(isola::Tasks *)> tasks;
    v8::Isolate *isolate = nullptr;
    double born_ms = 0, born_wall_ms = 0; // monotonic, since 1970
    // A snapshot is made of it: the module it loads, how that went, and what it did that must not
    // be in the snapshot.
    bool making = false;
    const isola::Code *code = nullptr;
    enum class Loaded { No, Yes, Failed } loaded = Loaded::No;
    std::string touched{};
    // The texts of its modules, which its heap refers to.
    std::vector<std::unique_ptr<isola::Code>> texts{};
    v8::Global<v8::Context> context{};
    v8::Global<v8::Function> hooks[isola::HOOK_COUNT]{};
    v8::Global<v8::Symbol> address_symbol{};
    v8::Global<v8::Function> cron{};           // of lib/runtime/cron.js, when it was needed
    v8::Global<v8::Object> object_prototype{}; // when it was needed
    uint32_t collections = 0;                  // of garbage: objects may have moved
    std::unique_ptr<isola::Shapes> shapes{};   // of objects that were decoded
    v8::Global<v8::Array> models[2]{};         // what arrays of doubles and of integers begin as
    v8::Global<v8::ArrayBuffer> memory{};      // of the ring, as it is in snapshots
    isola::Ring ring{};
    bool shared = false; // many actors live in it
    isola::Lone lone{};  // else the one, and its handlers
    // What has the state of each actor that has looked at it, as its property "state".
    std::unordered_map<uint32_t, v8::Global<v8::Object>> holders{};
    v8::Global<v8::String> state_name{};
    uint32_t receiver = 0; // whose message or answer is being decoded
    uint32_t attempts = 0; // values with streams in them that were encoded
    // What scripts can import: "isola" and modules of Node.js', made when a script asks for them.
    struct Builtin {
        v8::Global<v8::Module> module;
        v8::Global<v8::Object> exports;
    };
    std::unordered_map<std::string, Builtin> builtins{};
    isola::Guard guard{};
    isola::Profiling *profiling = nullptr; // a profile that is being taken
    std::atomic<bool> stopping = false;    // isola_v8_halt: not noted yet where
    std::string where{};                   // noted
    bool formatting = false;               // Error.prepareStackTrace of a script runs
    bool ticks = false;                    // process.nextTick has something to run
    // Reads of storage under way, by the numbers the isolate gives them (storage.cc).
    std::unordered_map<uint64_t, isola::Awaited> stored{};
    uint64_t stored_last = 0;
    // Rejections nobody handles yet, in their order; handled ones have an empty promise. The index
    // is by the promise's identity hash: a script may have a hundred thousand of them and then
    // handle each.
    struct Rejection {
        v8::Global<v8::Promise> promise;
        v8::Global<v8::Value> reason;
        uint32_t actor;
    };
    std::vector<Rejection> rejections{};
    std::unordered_multimap<int, size_t> rejection_index{};
};

struct isola_js {
    isola_v8 *v;
    v8::Local<v8::Context> context;
    v8::Isolate *isolate() const { return v->isolate; }
};

namespace isola
{

inline isola_v8 *from(v8::Isolate *isolate)
{
    return static_cast<isola_v8 *>(isolate->GetData(0));
}
// kInternalized: what many actors have, which is then one string.
v8::Local<v8::String> text(v8::Isolate *isolate, Slice s,
                           v8::NewStringType how = v8::NewStringType::kNormal);
// A copy of the bytes; empty when the script has no room for it.
v8::MaybeLocal<v8::ArrayBuffer> copied(v8::Isolate *isolate, Slice s);
inline v8::Local<v8::String> text(v8::Isolate *isolate, const char *s)
{
    return text(isolate, isola_slice_str(s));
}
// At most `max` bytes, whole characters; empty when it cannot be made a string.
std::string utf8(v8::Isolate *isolate, v8::Local<v8::Value> value, size_t max = SIZE_MAX);
// What is said to people, in logs and errors that had to be put into words: a longer text is cut.
constexpr size_t kSaidMax = 64u << 10;
inline constexpr char kMalformed[] = "the values of the message are malformed";
// Nothing in it above 0x7f.
bool ascii_only(Slice s);

// In whose turn the code runs that runs now: what travels along promise continuations (V8's
// continuation-preserved embedder data) is a number made of both, or, when the script keeps
// something with it (AsyncLocalStorage), an object with that number in `frame`.
struct Frame {
    static constexpr double kTurns = 2097152; // ISOLA_TURN_MAX + 1
    uint32_t actor, turn;
    static double number(uint32_t actor, uint32_t turn) { return actor * kTurns + turn; }
};
Frame current_frame(v8::Isolate *isolate);
Frame frame_of(v8::Isolate *isolate, v8::Local<v8::Value> value);
void set_frame(v8::Isolate *isolate, uint32_t actor, uint32_t turn);

// The thread's buffer for what is encoded and copied on at once, or, when it is lent already (a
// getter of the script's sends while what it belongs to is encoded), one of its own.
class Scratch
{
  public:
    explicit Scratch(isola_js *) : buf_(kept.buf)
    {
        kept.buf = {};
        buf_.len = 0;
        buf_.failed = false;
    }
    ~Scratch()
    {
        if (kept.buf.data == nullptr && buf_.cap <= kKept)
            kept.buf = buf_;
        else
            isola_buf_free(&buf_);
    }
    Scratch(const Scratch &) = delete;
    isola_buf *buf() { return &buf_; }
    Slice slice() const { return isola_buf_slice(&buf_); }

  private:
    static constexpr size_t kKept = size_t{2} << 20;
    struct Kept {
        isola_buf buf{};
        ~Kept() { isola_buf_free(&buf); }
    };
    static thread_local Kept kept;
    isola_buf buf_;
};

// A string's bytes, without memory of their own when they are few.
class Utf8
{
  public:
    Utf8(v8::Isolate *isolate, v8::Local<v8::Value> value);
    Slice slice() const { return slice_; }

  private:
    char small_[320];
    std::string big_;
    Slice slice_;
};

// encode.cc, decode.cc: the codec (docs/wire.md). On failure encode throws an Error with code
// ECLONE in the isolate, unless the isolate is terminating, and returns false; decode returns empty
// and throws nothing. Value: an args array itself. ArgsOfOne: written as an args array around it;
// OneArg: the same, and called so in errors. State, Item: a value that stands alone.
// `streams`: they may be in it; they are sent when all of it could be encoded.
enum class Wrap { Value, ArgsOfOne, OneArg, State, Item };
bool encode(isola_js *js, v8::Local<v8::Value> value, Wrap wrap, isola_buf *out,
            bool streams = false);
v8::MaybeLocal<v8::Value> decode(isola_js *js, Slice bytes);
// The first of an args array; undefined when it has none. `block`: see isola_js_deliver.
v8::MaybeLocal<v8::Value> decode_first(isola_js *js, Slice args, isola_block *block = nullptr);
// An args array, to which nothing in it can refer.
v8::MaybeLocal<v8::Array> decode_args(isola_js *js, Slice args, isola_block *block = nullptr);

// lent.cc: a string that stays where it lies, in `block`. Empty: the isolate has enough of those,
// or it does not lie as V8 needs it.
v8::MaybeLocal<v8::String> lent_one_byte(isola_js *js, Slice chars, isola_block *block);
v8::MaybeLocal<v8::String> lent_two_byte(isola_js *js, Slice units, isola_block *block);

// streams.cc: ends of streams in values. What the hook is asked (lib/runtime/streams.js):
enum StreamOp : uint32_t {
    kStreamSaid,
    kStreamEnded,
    kStreamSend,
    kStreamSent,
    kStreamTake,
};
constexpr size_t kStreamId = 22;             // characters
constexpr uint64_t kStreamCredit = 16 << 20; // bytes, at the most
// What stands for a stream in a value: an array of what extension 12 has, or a string: why it
// cannot be sent. Empty: thrown. `attempt`: of the value.
v8::MaybeLocal<v8::Value> stream_end(isola_js *js, uint32_t attempt, v8::Local<v8::Object> stream);
// Those of this attempt have been encoded with all the rest, or are not sent. False: thrown.
bool stream_ends_sent(isola_js *js, uint32_t attempt, bool ok);
// The stream, which is the receiver's (isola_v8::receiver). Empty: it is none.
v8::MaybeLocal<v8::Value> stream_of(isola_js *js, Slice payload);

// storage.cc: nobody waits any more for what this actor has asked of its storage.
void forget_stored(isola_v8 *v, uint32_t actor);

// Encodes [error] for FAIL; whatever `error` holds, this succeeds.
void encode_error(isola_js *js, v8::Local<v8::Value> error, isola_buf *out);
v8::Local<v8::Value> make_error(v8::Isolate *isolate, const char *code, const char *message);

// birth.cc
extern const isola_v8_ops quiet_ops; // of an isolate nobody is in
// What a snapshot may refer to.
void add_birth_references(std::vector<intptr_t> *to);
void add_util_references(std::vector<intptr_t> *to);
// Boots the runtime that was evaluated in the current context, and takes its hooks.
bool boot(isola_js *js, std::string *why);
// Fetches what C holds of the context from the snapshot a new isolate came from.
bool revive(isola_js *js);
// A snapshot of an isolate that is made with `params` and in whose context `fill` has run; its data
// is null when that failed, or V8 did. `v` has what C holds of the isolate meanwhile.
v8::StartupData make_snapshot(isola_v8 *v, const v8::Isolate::CreateParams &params,
                              bool (*fill)(isola_js *js, void *arg), void *arg);
// Lets go of all that is in the isolate, which is locked.
void forget_handles(isola_v8 *v);

// stacks.cc
void set_stack_callback(v8::Isolate *isolate);
// The text of an exception for a log: its stack when it has one, and those of what caused it.
std::string describe(isola_js *js, v8::Local<v8::Value> error);
// `text` with the places in it said of the author's files.
std::string placed(isola_js *js, const std::string &text);

// inspect.cc
void end_profiling(isola_v8 *v); // drops a profile that is being taken

// modules.cc
void set_module_callbacks(v8::Isolate *isolate);
void add_module_references(std::vector<intptr_t> *to); // what snapshots may refer to
struct ModuleText {
    Slice type, name, code, cache;
};
// Loads a module, reports how that ends with ops->loaded, and runs the microtasks. `module` is
// empty when it does not compile. True: V8 took its code from the cache.
bool load_module(isola_js *js, const ModuleText &text, v8::Local<v8::Module> *module);
// Makes `exports` the module of that name. False: thrown.
bool add_builtin(isola_js *js, const std::string &name, v8::Local<v8::Object> exports);

// code.cc: the code of a module (of UTF-8 that outlives the isolate) as a string.
v8::Local<v8::String> code_text(isola_js *js, Slice code);

// image.cc
const v8::StartupData *image_blob(const isola_v8_image *image);
const intptr_t *image_references(const isola_v8_image *image);
// Something that must not be in an image was done.
void touch(isola_v8 *v, const char *what);

// realm.cc: calls a hook, then runs microtasks and reports unhandled rejections. Empty when it
// threw; the exception is reported as a crash of `actor` (0: of the one whose frame is current):
// hooks catch what scripts throw, so a script has broken the runtime's own ground.
// The hook alone.
v8::MaybeLocal<v8::Value> enter_hook(isola_js *js, Hook hook, uint32_t actor, int argc,
                                     v8::Local<v8::Value> argv[]);
v8::MaybeLocal<v8::Value> call_hook(isola_js *js, Hook hook, uint32_t actor, int argc,
                                    v8::Local<v8::Value> argv[]);
// process.nextTick's callbacks and the microtasks, until there are none of either.
void run_ticks(isola_js *js);
void after_entry(isola_js *js);
// Of an actor that has looked at it. Runs no script.
v8::MaybeLocal<v8::Value> state_of(isola_js *js, const v8::Global<v8::Object> &holder);
void set_callbacks(v8::Isolate *isolate);

} // namespace isola
