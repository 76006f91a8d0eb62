// SPDX-License-Identifier: Apache-2.0
//
// Strings that stay where they have come: V8 has them as external ones, each with a reference to
// the block its message lies in. A string keeps all of that block.
#include "actors/v8/internal.hh"
#include "base/block.h"

namespace isola
{
namespace
{

// V8 ends it when it is garbage, at the latest with the isolate.
template <typename Resource, typename Unit> class Lent final : public Resource
{
  public:
    Lent(isola_v8 *v, Slice s, isola_block *block)
        : isolate_(v->isolate), quota_(v->guard.quota), s_(s), block_(isola_block_ref(block))
    {
        isolate_->AdjustAmountOfExternalAllocatedMemory(static_cast<int64_t>(s_.len));
    }
    ~Lent() override
    {
        isolate_->AdjustAmountOfExternalAllocatedMemory(-static_cast<int64_t>(s_.len));
        quota_->give_back(s_.len);
        isola_block_unref(block_);
    }
    const Unit *data() const override { return reinterpret_cast<const Unit *>(s_.data); }
    size_t length() const override { return s_.len / sizeof(Unit); }

  private:
    v8::Isolate *isolate_;
    std::shared_ptr<Quota> quota_;
    Slice s_;
    isola_block *block_;
};

using OneByte = Lent<v8::String::ExternalOneByteStringResource, char>;
using TwoByte = Lent<v8::String::ExternalStringResource, uint16_t>;

} // namespace

v8::MaybeLocal<v8::String> lent_one_byte(isola_js *js, Slice chars, isola_block *block)
{
    if (!js->v->guard.quota->lend(chars.len))
        return {};
    return v8::String::NewExternalOneByte(js->isolate(), new OneByte(js->v, chars, block));
}

v8::MaybeLocal<v8::String> lent_two_byte(isola_js *js, Slice units, isola_block *block)
{
    if (reinterpret_cast<uintptr_t>(units.data) % 2 != 0 || !js->v->guard.quota->lend(units.len))
        return {};
    return v8::String::NewExternalTwoByte(js->isolate(), new TwoByte(js->v, units, block));
}

} // namespace isola
