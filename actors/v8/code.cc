// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/code.hh"

#include <algorithm>
#include <vector>

#include "actors/v8/internal.hh"
#include "base/utf8.h"

namespace isola
{
namespace
{

class Narrow final : public v8::String::ExternalOneByteStringResource
{
  public:
    explicit Narrow(Slice text) : text_(text) {}
    const char *data() const override { return reinterpret_cast<const char *>(text_.data); }
    size_t length() const override { return text_.len; }
    void Dispose() override {} // its owner outlives the isolate

  private:
    Slice text_;
};

class Wide final : public v8::String::ExternalStringResource
{
  public:
    explicit Wide(Slice text)
    {
        units_.reserve(text.len);
        for (size_t i = 0; i < text.len;) {
            uint32_t c = 0xfffd; // for a byte that is not of any
            i += std::max<size_t>(isola_utf8_next(text.data + i, text.len - i, &c), 1);
            if (c >= 0x10000) {
                units_.push_back(static_cast<uint16_t>(0xd7c0 + (c >> 10)));
                c = 0xdc00 | (c & 0x3ff);
            }
            units_.push_back(static_cast<uint16_t>(c));
        }
        units_.shrink_to_fit();
    }
    const uint16_t *data() const override { return units_.data(); }
    size_t length() const override { return units_.size(); }
    void Dispose() override {}

  private:
    std::vector<uint16_t> units_;
};

} // namespace

Code::Code(Slice utf8)
{
    if (ascii_only(utf8))
        narrow_ = std::make_unique<Narrow>(utf8);
    else
        wide_ = std::make_unique<Wide>(utf8);
}

intptr_t Code::reference() const
{
    return narrow_ ? reinterpret_cast<intptr_t>(narrow_.get())
                   : reinterpret_cast<intptr_t>(wide_.get());
}

v8::MaybeLocal<v8::String> Code::string(v8::Isolate *isolate) const
{
    return narrow_ ? v8::String::NewExternalOneByte(isolate, narrow_.get())
                   : v8::String::NewExternalTwoByte(isolate, wide_.get());
}

v8::Local<v8::String> code_text(isola_js *js, Slice code)
{
    if (code.len > static_cast<size_t>(v8::String::kMaxLength))
        return text(js->isolate(), code);
    const Code *shared = js->v->code;
    if (shared == nullptr)
        shared = js->v->texts.emplace_back(std::make_unique<Code>(code)).get();
    return shared->string(js->isolate()).FromMaybe(v8::String::Empty(js->isolate()));
}

} // namespace isola
