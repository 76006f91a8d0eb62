// SPDX-License-Identifier: Apache-2.0
//
// CPU profiles and heap snapshots, in the files Chrome's DevTools opens.
//
// The profile is written here and not by V8, because places are to be those in the author's files,
// and because an isolate of ours is often not run at all: V8 takes no samples then, and a reader of
// the file would take the time until the next one for time spent in the last. Such gaps become
// "(idle)".
#include <v8-profiler.h>

#include <cstring>
#include <map>

#include "actors/v8/internal.hh"
#include "base/clock.h"

namespace isola
{

struct Profiling {
    v8::CpuProfiler *profiler;
    v8::ProfilerId id;
    uint32_t interval_us;
};

void end_profiling(isola_v8 *v)
{
    if (v->profiling == nullptr)
        return;
    v8::CpuProfile *profile = v->profiling->profiler->Stop(v->profiling->id);
    if (profile != nullptr)
        profile->Delete();
    v->profiling->profiler->Dispose();
    delete v->profiling;
    v->profiling = nullptr;
}

namespace
{

constexpr size_t kChunk = 64u << 10;
constexpr unsigned kSamplesMax = 1u << 20; // what comes later is not recorded
constexpr int kGap = 4;                    // sampling intervals without a sample: it did not run

// Text that goes to a sink in pieces.
class Writer
{
  public:
    explicit Writer(isola_v8_sink sink) : sink_(sink) {}

    void put(const char *s) { put(s, strlen(s)); }
    void put(const char *s, size_t n)
    {
        pending_.append(s, n);
        if (pending_.size() >= kChunk)
            flush();
    }
    void number(int64_t n) { put(std::to_string(n).c_str()); }

    // A JSON string. What is no UTF-8 becomes U+FFFD: scripts choose the names of functions.
    void string(const char *s)
    {
        static const char digits[] = "0123456789abcdef";
        put("\"");
        while (*s != '\0') {
            auto c = static_cast<unsigned char>(*s);
            size_t n = sequence(s);
            if (n == 0) {
                put("\xef\xbf\xbd");
                n = 1;
            } else if (c == '"' || c == '\\') {
                char escaped[] = {'\\', *s};
                put(escaped, 2);
            } else if (c < 0x20 || c == 0x7f) {
                char escaped[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
                put(escaped, 6);
            } else {
                put(s, n);
            }
            s += n;
        }
        put("\"");
    }

    bool end()
    {
        flush();
        return ok_;
    }

  private:
    // Bytes of the character at `s`; 0 when it is none.
    static size_t sequence(const char *s)
    {
        auto at = [s](size_t i) { return static_cast<unsigned char>(s[i]); };
        unsigned char c = at(0);
        if (c < 0x80)
            return 1;
        size_t n = c >= 0xc2 && c <= 0xdf   ? 2
                   : (c & 0xf0) == 0xe0     ? 3
                   : c >= 0xf0 && c <= 0xf4 ? 4
                                            : 0;
        for (size_t i = 1; i < n; i++) // ends at the NUL, which is no continuation
            if ((at(i) & 0xc0) != 0x80)
                return 0;
        bool outside = n > 2 && ((c == 0xe0 && at(1) < 0xa0) || (c == 0xed && at(1) > 0x9f) ||
                                 (c == 0xf0 && at(1) < 0x90) || (c == 0xf4 && at(1) > 0x8f));
        return outside ? 0 : n;
    }
    void flush()
    {
        if (ok_ && !pending_.empty())
            ok_ = sink_.write(sink_.arg, isola_slice(pending_.data(), pending_.size()));
        pending_.clear();
    }

    isola_v8_sink sink_;
    std::string pending_;
    bool ok_ = true;
};

struct Place {
    std::string url;
    int64_t line, column; // from 1
};

// The author's place of one in a bundle; an empty url when the map has none.
Place author_place(isola_js *js, const std::string &script, int64_t line, int64_t column)
{
    std::string said = script + ":" + std::to_string(line) + ":" + std::to_string(column);
    std::string there = placed(js, said);
    size_t last = there.rfind(':');
    size_t first = last == std::string::npos || last == 0 ? last : there.rfind(':', last - 1);
    if (there == said || first == std::string::npos)
        return {};
    return {there.substr(0, first), strtoll(there.c_str() + first + 1, nullptr, 10),
            strtoll(there.c_str() + last + 1, nullptr, 10)};
}

class ProfileWriter
{
  public:
    ProfileWriter(isola_js *js, const v8::CpuProfile *profile, uint32_t interval_us,
                  isola_v8_sink sink)
        : js_(js), profile_(profile), interval_(interval_us), out_(sink)
    {
    }

    bool run()
    {
        collect();
        out_.put("{\"nodes\":[");
        for (const v8::CpuProfileNode *n : nodes_)
            node(n);
        out_.put("],\"startTime\":");
        out_.number(profile_->GetStartTime());
        out_.put(",\"endTime\":");
        out_.number(std::max(profile_->GetEndTime(), last_));
        list(",\"samples\":[", samples_);
        list("],\"timeDeltas\":[", deltas_);
        out_.put("]}\n");
        return out_.end();
    }

  private:
    // All nodes, parents first; samples with the time each has before it.
    void collect()
    {
        nodes_.push_back(profile_->GetTopDownRoot());
        for (size_t i = 0; i < nodes_.size(); i++) {
            const v8::CpuProfileNode *n = nodes_[i];
            idle_id_ = std::max<int64_t>(idle_id_, n->GetNodeId() + 1);
            for (int c = 0; c < n->GetChildrenCount(); c++)
                nodes_.push_back(n->GetChild(c));
        }
        last_ = profile_->GetStartTime();
        int count = profile_->GetSamplesCount();
        for (int i = 0; i < count; i++) {
            gap(profile_->GetSampleTimestamp(i), i == 0);
            add(profile_->GetSample(i)->GetNodeId(), profile_->GetSampleTimestamp(i));
        }
        gap(profile_->GetEndTime(), count == 0);
    }
    void add(int64_t id, int64_t at)
    {
        samples_.push_back(id);
        deltas_.push_back(std::max<int64_t>(0, at - last_));
        last_ = std::max(last_, at);
    }
    void gap(int64_t until, bool from_the_start)
    {
        int64_t step = interval_;
        if (until - last_ <= kGap * step)
            return;
        add(idle_id_, from_the_start ? last_ : last_ + step);
        idle_hits_++;
    }

    void node(const v8::CpuProfileNode *n)
    {
        bool root = n == nodes_[0];
        std::string script = n->GetScriptResourceNameStr();
        Place place{script, n->GetLineNumber(), n->GetColumnNumber()};
        bool ours = script.rfind("isola:", 0) == 0 && place.line > 0;
        if (ours) {
            Place there = author_place(js_, script, place.line, std::max<int64_t>(place.column, 1));
            if (!there.url.empty())
                place = there;
        }
        out_.put(root ? "{\"id\":" : ",{\"id\":");
        out_.number(n->GetNodeId());
        frame(n->GetFunctionNameStr(), n->GetScriptId(), place);
        out_.put(",\"hitCount\":");
        out_.number(n->GetHitCount());
        if (n->GetChildrenCount() > 0 || (root && idle_hits_ > 0)) {
            out_.put(",\"children\":[");
            for (int c = 0; c < n->GetChildrenCount(); c++) {
                out_.put(c > 0 ? "," : "");
                out_.number(n->GetChild(c)->GetNodeId());
            }
            if (root && idle_hits_ > 0) {
                out_.put(n->GetChildrenCount() > 0 ? "," : "");
                out_.number(idle_id_);
            }
            out_.put("]");
        }
        ticks(n, script, ours);
        const char *why = n->GetBailoutReason();
        if (why != nullptr && *why != '\0') {
            out_.put(",\"deoptReason\":");
            out_.string(why);
        }
        out_.put("}");
        if (root && idle_hits_ > 0) {
            out_.put(",{\"id\":");
            out_.number(idle_id_);
            frame("(idle)", 0, Place{});
            out_.put(",\"hitCount\":");
            out_.number(idle_hits_);
            out_.put("}");
        }
    }
    void frame(const char *function, int script_id, const Place &place)
    {
        out_.put(",\"callFrame\":{\"functionName\":");
        out_.string(function);
        out_.put(",\"scriptId\":\"");
        out_.number(script_id);
        out_.put("\",\"url\":");
        out_.string(place.url.c_str());
        out_.put(",\"lineNumber\":"); // from 0 here
        out_.number(place.line - 1);
        out_.put(",\"columnNumber\":");
        out_.number(place.column - 1);
        out_.put("}");
    }
    // Which lines of the function the samples were in.
    void ticks(const v8::CpuProfileNode *n, const std::string &script, bool ours)
    {
        std::vector<v8::CpuProfileNode::LineTick> lines(n->GetHitLineCount());
        if (lines.empty() || !n->GetLineTicks(lines.data(), static_cast<unsigned>(lines.size())))
            return;
        std::map<int64_t, unsigned> hits; // several lines of a bundle may come from one
        for (const auto &tick : lines) {
            int64_t line = tick.line;
            if (ours) {
                Place there = author_place(js_, script, line, INT32_MAX); // the line's last place
                if (!there.url.empty())
                    line = there.line;
            }
            hits[line] += tick.hit_count;
        }
        const char *between = ",\"positionTicks\":[";
        for (auto [line, count] : hits) {
            out_.put(between);
            out_.put("{\"line\":");
            out_.number(line);
            out_.put(",\"ticks\":");
            out_.number(count);
            out_.put("}");
            between = ",";
        }
        out_.put("]");
    }
    void list(const char *begin, const std::vector<int64_t> &numbers)
    {
        out_.put(begin);
        for (size_t i = 0; i < numbers.size(); i++) {
            out_.put(i > 0 ? "," : "");
            out_.number(numbers[i]);
        }
    }

    isola_js *js_;
    const v8::CpuProfile *profile_;
    uint32_t interval_;
    Writer out_;
    std::vector<const v8::CpuProfileNode *> nodes_;
    std::vector<int64_t> samples_, deltas_;
    int64_t last_ = 0, idle_id_ = 1, idle_hits_ = 0;
};

class SnapshotStream final : public v8::OutputStream
{
  public:
    explicit SnapshotStream(isola_v8_sink sink) : sink_(sink) {}
    int GetChunkSize() override { return static_cast<int>(kChunk); }
    void EndOfStream() override { ended = true; }
    WriteResult WriteAsciiChunk(char *data, int size) override
    {
        return sink_.write(sink_.arg, isola_slice(data, static_cast<size_t>(size))) ? kContinue
                                                                                    : kAbort;
    }
    bool ended = false;

  private:
    isola_v8_sink sink_;
};

class Deadline final : public v8::ActivityControl
{
  public:
    explicit Deadline(uint64_t ms) : until_(isola_clock_ms() + ms) {}
    ControlOption ReportProgressValue(uint32_t, uint32_t) override
    {
        return isola_clock_ms() < until_ ? kContinue : kAbort;
    }

  private:
    uint64_t until_;
};

void on_interrupt(v8::Isolate *isolate, void *data)
{
    auto *v = static_cast<isola_v8 *>(data);
    v8::HandleScope scope(isolate);
    isola_js js{v, v->context.Get(isolate)};
    v->ops->interrupted(v->arg, &js);
}

} // namespace
} // namespace isola

using namespace isola;

extern "C" {

void isola_v8_interrupt(struct isola_v8 *v)
{
    v->isolate->RequestInterrupt(on_interrupt, v);
}

int isola_js_profile(struct isola_js *js, uint32_t interval_us, struct isola_err *err)
{
    v8::HandleScope scope(js->isolate());
    if (js->v->profiling != nullptr)
        return isola_fail(err, ISOLA_EBUSY, "a profile of this isolate is being taken already");
    v8::CpuProfiler *profiler = v8::CpuProfiler::New(js->isolate(), v8::kDebugNaming);
    profiler->SetSamplingInterval(static_cast<int>(interval_us));
    v8::CpuProfilingResult started = profiler->Start(v8::CpuProfilingOptions(
        v8::kLeafNodeLineNumbers, kSamplesMax, static_cast<int>(interval_us)));
    if (started.status != v8::CpuProfilingStatus::kStarted) {
        profiler->Dispose();
        return isola_fail(err, ISOLA_EFAILED, "V8 does not start a profile");
    }
    js->v->profiling = new Profiling{profiler, started.id, interval_us};
    return 0;
}

int isola_js_profile_end(struct isola_js *js, struct isola_v8_sink sink, struct isola_err *err)
{
    v8::HandleScope scope(js->isolate());
    Profiling *p = js->v->profiling;
    if (p == nullptr)
        return isola_fail(err, ISOLA_ENOENT, "no profile of this isolate is being taken");
    v8::CpuProfile *profile = p->profiler->Stop(p->id);
    bool ok = profile != nullptr && ProfileWriter(js, profile, p->interval_us, sink).run();
    if (profile != nullptr)
        profile->Delete();
    p->profiler->Dispose();
    delete p;
    js->v->profiling = nullptr;
    return ok ? 0 : isola_fail(err, ISOLA_EIO, "the profile cannot be written");
}

int isola_js_heap_snapshot(struct isola_js *js, uint64_t max_ms, struct isola_v8_sink sink,
                           struct isola_err *err)
{
    v8::HandleScope scope(js->isolate());
    v8::HeapProfiler *profiler = js->isolate()->GetHeapProfiler();
    Deadline deadline(max_ms);
    v8::HeapProfiler::HeapSnapshotOptions options;
    options.control = &deadline;
    options.numerics_mode = v8::HeapProfiler::NumericsMode::kExposeNumericValues;
    const v8::HeapSnapshot *snapshot = profiler->TakeHeapSnapshot(options);
    if (snapshot == nullptr)
        return isola_fail(err, ISOLA_ETIMEDOUT,
                          "the heap could not be walked within %llu s; it stood still meanwhile",
                          static_cast<unsigned long long>(max_ms / 1000));
    SnapshotStream stream(sink);
    snapshot->Serialize(&stream, v8::HeapSnapshot::kJSON);
    const_cast<v8::HeapSnapshot *>(snapshot)->Delete();
    return stream.ended ? 0 : isola_fail(err, ISOLA_EIO, "the heap snapshot cannot be written");
}

} // extern "C"
