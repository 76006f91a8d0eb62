// SPDX-License-Identifier: Apache-2.0
//
// actors/v8/decode.cc: values from anybody, in an isolate. What is decoded is encoded, and that
// decoded again is the same.
//
// The target lives in a plain Node.js, as an addon: run(ARGUMENTS) is libFuzzer's main, or that of
// replay.c.
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "actors/v8/values.hh"
#include "tests/fuzz/fuzz.h"
#include "tests/isolate/addon.hh"

extern "C" int LLVMFuzzerRunDriver(int *argc, char ***argv,
                                   int (*one)(const uint8_t *data, size_t size));

namespace
{

using Slice = struct isola_slice;

isola_v8 *isolate_of_values;

// An args array again; empty, and an exception, when it cannot be sent.
std::string encoded(isola_js *js, v8::Local<v8::Array> values)
{
    isola_buf out{};
    std::string bytes;
    if (isola::encode(js, values, isola::Wrap::Value, &out)) {
        ISOLA_CHECK(!out.failed && out.len > 0);
        bytes.assign(reinterpret_cast<const char *>(out.data), out.len);
    }
    isola_buf_free(&out);
    return bytes;
}

void one(isola_js *js, void *arg)
{
    v8::Isolate *isolate = js->isolate();
    v8::HandleScope scope(isolate);
    v8::TryCatch caught(isolate);
    v8::Local<v8::Array> values, again;
    bool taken = isola::decode_args(js, *static_cast<Slice *>(arg)).ToLocal(&values);
    ISOLA_CHECK(!caught.HasCaught());
    if (!taken)
        return;
    std::string first = encoded(js, values);
    if (first.empty()) { // deeper than may be sent: an Error's own levels count once more
        ISOLA_CHECK(caught.HasCaught());
        return;
    }
    ISOLA_CHECK(!caught.HasCaught());
    ISOLA_CHECK(isola::decode_args(js, isola_slice(first.data(), first.size())).ToLocal(&again));
    std::string second = encoded(js, again);
    ISOLA_CHECK(first == second);
}

void run(addon::Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    static std::vector<std::string> words{"codec_fuzz"};
    static std::vector<char *> pointers;
    for (int i = 0; i < info.Length(); i++)
        words.emplace_back(*v8::String::Utf8Value(isolate, info[i]));
    for (auto &w : words)
        pointers.push_back(w.data());
    int argc = static_cast<int>(pointers.size());
    pointers.push_back(nullptr);
    char **argv = pointers.data();
    // libFuzzer ends the process itself; V8 minds isolates that are there when its own end comes.
    on_exit(
        [](int status, void *) {
            fflush(nullptr);
            _exit(status);
        },
        nullptr);
#ifdef ISOLA_FUZZ
    exit(LLVMFuzzerRunDriver(&argc, &argv, LLVMFuzzerTestOneInput));
#else
    exit(fuzz_replay(argc, argv));
#endif
}

} // namespace

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Slice input = isola_slice(data, size);
    isola_v8_visit(isolate_of_values, one, &input);
    return 0;
}

NODE_MODULE_INIT()
{
    (void)module;
    isola_err err{};
    if (addon::start_quiet(context, &isolate_of_values, &err) != 0)
        isola_check_failed(err.text, __FILE__, __LINE__);
    addon::provide(context, exports, {{"run", run}});
}
