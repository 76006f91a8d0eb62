// SPDX-License-Identifier: Apache-2.0
//
// zlib, as Node.js' module of that name wants it (actors/lib/runtime/node/zlib.js).
//
// A stream and all that zlib allocates for it lie in one ArrayBuffer that the runtime keeps to
// itself: it counts as the script's memory, goes when the stream goes, and its address does not
// change. Scripts choose everything else that comes here.
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

enum Mode { NONE, DEFLATE, INFLATE, GZIP, GUNZIP, DEFLATERAW, INFLATERAW, UNZIP }; // Node's

constexpr int kGzipId1 = 0x1f, kGzipId2 = 0x8b;

// At the beginning of the ArrayBuffer; the rest of it is given out once, in pieces.
struct Stream {
    z_stream z;
    size_t used, size;
    int mode, id_bytes;
};

Stream *stream_of(Info info)
{
    BytesOf b(info[0]);
    return b.ok && b.len >= sizeof(Stream) ? reinterpret_cast<Stream *>(b.data) : nullptr;
}

int int_of(Info info, int i)
{
    return info[i]->IsInt32() ? info[i].As<v8::Int32>()->Value() : 0;
}

void *give(void *arg, uInt n, uInt size)
{
    auto *s = static_cast<Stream *>(arg);
    size_t bytes = (static_cast<size_t>(n) * size + 63) / 64 * 64;
    if (bytes > s->size - s->used)
        return Z_NULL;
    void *at = reinterpret_cast<char *>(s) + s->used;
    s->used += bytes;
    return at;
}

void take_back(void *, void *) {} // with the ArrayBuffer

bool deflates(int mode)
{
    return mode == DEFLATE || mode == GZIP || mode == DEFLATERAW;
}

int set_dictionary(Stream *s, const BytesOf &d)
{
    auto n = static_cast<uInt>(d.len);
    if (!d.ok || d.len == 0 || d.len > UINT32_MAX)
        return Z_OK;
    if (s->mode == DEFLATE || s->mode == DEFLATERAW)
        return deflateSetDictionary(&s->z, d.data, n);
    return s->mode == INFLATERAW ? inflateSetDictionary(&s->z, d.data, n) : Z_OK;
}

int reset(Stream *s)
{
    return deflates(s->mode) ? deflateReset(&s->z) : inflateReset(&s->z);
}

// size(mode, window bits, memory level) → bytes of the ArrayBuffer of such a stream
void size(Info info)
{
    size_t window = size_t{1} << std::clamp(int_of(info, 1), 9, 15);
    int level = std::clamp(int_of(info, 2), 1, 9);
    size_t n = 48u << 10;
    if (deflates(int_of(info, 0)))
        n += 5 * window + (size_t{4} << std::max(level + 7, 15)) + (size_t{8} << (level + 6));
    else
        n += 2 * (32u << 10); // any window may be asked for
    info.GetReturnValue().Set(static_cast<double>(n));
}

// init(stream, mode, window bits, level, memory level, strategy, dictionary | undefined) → status
void init(Info info)
{
    Stream *s = stream_of(info);
    if (s == nullptr)
        return;
    touch(from(info.GetIsolate()), "it compresses while it loads"); // pointers cannot be kept
    int mode = int_of(info, 1), bits = int_of(info, 2);
    *s = Stream{};
    s->used = (sizeof(Stream) + 63) / 64 * 64;
    s->size = BytesOf(info[0]).len;
    s->mode = mode;
    s->z.zalloc = give;
    s->z.zfree = take_back;
    s->z.opaque = s;
    if (mode == GZIP || mode == GUNZIP)
        bits += 16;
    else if (mode == UNZIP)
        bits += 32;
    else if (mode == DEFLATERAW || mode == INFLATERAW)
        bits = -bits;
    int status = deflates(mode) ? deflateInit2(&s->z, int_of(info, 3), Z_DEFLATED, bits,
                                               int_of(info, 4), int_of(info, 5))
                                : inflateInit2(&s->z, bits);
    if (status == Z_OK)
        status = set_dictionary(s, BytesOf(info[6]));
    info.GetReturnValue().Set(status);
}

// Looks at the first two bytes for what is being unzipped.
void sniff(Stream *s)
{
    const Bytef *at = s->z.next_in, *end = at + s->z.avail_in;
    if (s->mode == UNZIP && s->id_bytes == 0 && at < end) {
        if (*at++ == kGzipId1)
            s->id_bytes = 1;
        else
            s->mode = INFLATE;
    }
    if (s->mode == UNZIP && s->id_bytes == 1 && at < end)
        s->mode = *at == kGzipId2 ? GUNZIP : INFLATE;
}

int inflate_some(Stream *s, int flush, const BytesOf &dictionary, bool one_member)
{
    sniff(s);
    int status = inflate(&s->z, flush);
    if (s->mode != INFLATERAW && status == Z_NEED_DICT && dictionary.ok && dictionary.len > 0) {
        status = inflateSetDictionary(&s->z, dictionary.data, static_cast<uInt>(dictionary.len));
        if (status == Z_OK)
            status = inflate(&s->z, flush);
        else if (status == Z_DATA_ERROR)
            status = Z_NEED_DICT; // a wrong one, not wrong data
    }
    // What follows is another member of the archive, but zeros are padding.
    while (s->z.avail_in > 0 && s->mode == GUNZIP && status == Z_STREAM_END && !one_member &&
           s->z.next_in[0] != 0) {
        reset(s);
        status = inflate(&s->z, flush);
    }
    return status;
}

// A range of a buffer; empty when it is none.
struct Range {
    Range(Info info, int i) : bytes(info[i])
    {
        size_t from = offset_of(info, i + 1, 0, bytes.len);
        at = bytes.data + from;
        n = offset_of(info, i + 2, 0, bytes.len - from);
        if (n > UINT32_MAX)
            n = UINT32_MAX;
    }
    BytesOf bytes;
    uint8_t *at;
    size_t n;
};

// Bytes in or out at once: half a second at the very most, of what is hardest to compress.
constexpr size_t kStep = 512u << 10;

// All that is to be read or written, in steps, with the status of one single call.
int in_steps(v8::Isolate *isolate, Stream *s, int flush, const BytesOf &dictionary, bool one_member)
{
    uInt in = s->z.avail_in, out = s->z.avail_out;
    bool any = false;
    int status;
    for (;;) {
        uInt now_in = std::min<uInt>(in, kStep), now_out = std::min<uInt>(out, kStep);
        s->z.avail_in = now_in;
        s->z.avail_out = now_out;
        int how = now_in < in ? Z_NO_FLUSH : flush;
        status =
            deflates(s->mode) ? deflate(&s->z, how) : inflate_some(s, how, dictionary, one_member);
        bool went_on = s->z.avail_in < now_in || s->z.avail_out < now_out;
        bool full = s->z.avail_out == 0;
        in -= now_in - s->z.avail_in;
        out -= now_out - s->z.avail_out;
        if (status == Z_BUF_ERROR && !went_on && any && how != Z_FINISH)
            status = Z_OK; // it went on before
        any = true;
        if ((status != Z_OK && status != Z_BUF_ERROR) || !went_on || out == 0 ||
            (in == 0 && !full) || ending(isolate))
            break;
    }
    s->z.avail_in = in;
    s->z.avail_out = out;
    return status;
}

// write(stream, flush, in, offset, length, out, offset, length, [left in out, left in in],
//       dictionary | undefined, is there one member only) → status
void write(Info info)
{
    Stream *s = stream_of(info);
    Range in(info, 2), out(info, 5);
    BytesOf left(info[8]), dictionary(info[9]);
    if (s == nullptr || s->z.state == nullptr || left.len < 2 * sizeof(uint32_t)) {
        info.GetReturnValue().Set(Z_STREAM_ERROR);
        return;
    }
    static Bytef nothing;
    s->z.next_in = in.n > 0 ? in.at : &nothing;
    s->z.avail_in = static_cast<uInt>(in.n);
    s->z.next_out = out.n > 0 ? out.at : &nothing;
    s->z.avail_out = static_cast<uInt>(out.n);
    s->z.msg = nullptr;
    int flush = std::clamp(int_of(info, 1), 0, 5);
    int status = in_steps(info.GetIsolate(), s, flush, dictionary, info[10]->IsTrue());
    uint32_t rest[2] = {s->z.avail_out, s->z.avail_in};
    memcpy(left.data, rest, sizeof(rest));
    s->z.next_in = s->z.next_out = nullptr;
    info.GetReturnValue().Set(status);
}

// reset(stream, dictionary | undefined) → status
void reset_stream(Info info)
{
    Stream *s = stream_of(info);
    int status = s != nullptr && s->z.state != nullptr ? reset(s) : Z_STREAM_ERROR;
    if (status == Z_OK)
        status = set_dictionary(s, BytesOf(info[1]));
    info.GetReturnValue().Set(status);
}

// params(stream, level, strategy) → status
void params(Info info)
{
    Stream *s = stream_of(info);
    if (s == nullptr || s->z.state == nullptr)
        return;
    Bytef nothing;
    s->z.next_in = s->z.next_out = &nothing;
    s->z.avail_in = s->z.avail_out = 0;
    int status = s->mode == DEFLATE || s->mode == DEFLATERAW
                     ? deflateParams(&s->z, int_of(info, 1), int_of(info, 2))
                     : Z_OK;
    s->z.next_in = s->z.next_out = nullptr;
    info.GetReturnValue().Set(status);
}

// message(stream) → what zlib says of the last status, or undefined
void message(Info info)
{
    Stream *s = stream_of(info);
    if (s != nullptr && s->z.msg != nullptr)
        info.GetReturnValue().Set(text(info.GetIsolate(), s->z.msg));
}

// crc32(bytes, value)
void crc(Info info)
{
    BytesOf b(info[0]);
    uLong value = info[1]->IsUint32() ? info[1].As<v8::Uint32>()->Value() : 0;
    for (size_t at = 0; at < b.len && !ending(info.GetIsolate());) {
        size_t n = std::min(b.len - at, kPiece);
        value = crc32(value, b.data + at, static_cast<uInt>(n));
        at += n;
    }
    info.GetReturnValue().Set(static_cast<uint32_t>(value));
}

const Native functions[] = {{"size", size},          {"init", init},     {"write", write},
                            {"reset", reset_stream}, {"params", params}, {"message", message},
                            {"crc32", crc}};

} // namespace

const NativeGroup zlib_natives = {"zlib", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
