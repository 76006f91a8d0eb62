// SPDX-License-Identifier: Apache-2.0
//
// Messages between C and JavaScript, many at a time (lib/runtime/ring.js, which has the same
// layout): a header of 16 fields, then the records of what comes, then those of what goes, then a
// place for bytes for each of what comes. A field is 32 bits; a double takes two.
#pragma once

#include <v8.h>

#include <memory>
#include <string>
#include <vector>

#include "actors/v8/ahead.hh"
#include "actors/v8/footprint.hh"
#include "base/block.h"
#include "base/buf.h"

struct isola_js;

namespace isola
{

// Names of events, by numbers that JavaScript knows them by too. Bounded: what is no longer
// numbered is named each time.
class Names
{
  public:
    // The name's number, which is new when it is above what count() was; 0: it gets none.
    uint32_t number(struct isola_slice name);
    struct isola_slice name(uint32_t number) const;
    uint32_t count() const { return static_cast<uint32_t>(names_.size()); }
    // What number() looks at first.
    void add_to(Footprint *f) const;

  private:
    static constexpr size_t kMax = 1000, kLongest = 200;
    uint32_t *place(struct isola_slice name, uint64_t hash);
    void grow();
    std::vector<std::string> names_;
    std::vector<uint32_t> table_; // open addressing; 0: empty
    uint32_t last_ = 0;
};

struct Ring {
    enum Header {
        kAt,
        kSent,
        kEpoch,
        kCrowded,
        kActor,
        kTurn,
        kOffset,
        kLength,
        kNameLength,
        kWaits,
        kBurst,
        kLearn,
        kHandlers
    };
    enum In { kKind, kTag, kSerial, kNumber, kValue, kName = 6, kWhose = 7, kIn = 8 };
    enum Out {
        kFrom = 2,
        kInTurn,
        kTo = 6,
        kEvent,
        kSlot,
        kAsk,
        kTimeout,
        kEventLength,
        kOut = 12
    };
    enum Came { kEmitted = 1, kAsked, kReplied, kRefused, kFinished };
    static constexpr uint32_t kBefore = kName; // kFinished: records that were sent before it
    enum Goes { kAskSent = 1, kEmitSent, kDone, kFailed };
    enum Tag {
        kNone,
        kUndefined,
        kNull,
        kFalse,
        kTrue,
        kInteger,
        kDouble,
        kEncoded,
        kBytes,   // so many bytes, in the place of the record
        kEncoded1 // of what comes: one value
    };
    static constexpr uint32_t kHeader = 16;
    // A place for bytes: V8 keeps arrays that are no larger in its heap, by default.
    static constexpr uint32_t kPlace = 64;

    std::shared_ptr<v8::BackingStore> store;
    int32_t *ints = nullptr;
    uint32_t incoming = 0, outgoing = 0; // records there is room for

    uint32_t queued = 0; // records that have come and not run
    bool runs = false;   // one of them does
    uint32_t seen = 0;   // of them, up to which ops know what has finished
    struct Mail {
        struct isola_slice event, args; // borrowed: what is not in the record
        struct isola_block *block;      // what args lie in, or nullptr
        uint32_t actor;                 // whom it is for
    };
    std::vector<Mail> mails;
    struct isola_buf encoded {
    }; // values of what goes; of a large one its place in `own`
    struct Own {
        void *memory; // nullptr: it has been taken
        struct isola_slice args;
    };
    std::vector<Own> own;
    size_t own_bytes = 0;
    struct isola_buf coder {
    };
    // Asks that could not be sent: they fail with the next run.
    struct Unsent {
        uint32_t actor, slot, number;
        std::string why; // [Error value]
    };
    std::vector<Unsent> unsent;
    Names names;
    uint32_t told = 0; // names JavaScript knows
    Ahead ahead;

    ~Ring();
    int32_t *in(uint32_t k) const { return ints + kHeader + k * kIn; }
    int32_t *out(uint32_t k) const { return ints + kHeader + incoming * kIn + k * kOut; }
    void use(std::shared_ptr<v8::BackingStore> memory, uint32_t in, uint32_t out);
    Own *own_of(const int32_t *record);
    void **memory_of(const int32_t *record); // that a large value lies in, or nullptr
    void drop_own(size_t n);                 // the first ones
    // Of a record of what comes; from `incoming` on, of what goes.
    uint8_t *place(uint32_t k) const
    {
        return reinterpret_cast<uint8_t *>(out(outgoing)) + size_t{k} * kPlace;
    }
    uint8_t *place_of(const int32_t *out_record) const
    {
        return place(incoming + static_cast<uint32_t>((out_record - out(0)) / kOut));
    }
    static size_t bytes(uint32_t in, uint32_t out)
    {
        return (kHeader + in * kIn + out * kOut) * sizeof(int32_t) + (size_t{in} + out) * kPlace;
    }
};

// Hands what scripts have sent to ops, in its order. `last`: as in ops->drains.
void drain(isola_js *js, bool last = false);
// The part of native.encodeNext that knows the ring: what is in `bytes`, behind ISOLA_MSG_BEFORE of
// them, belongs to the record that is put next. Takes them when they are many.
void keep_encoded(isola_js *js, struct isola_slice name, struct isola_buf *bytes);
// Takes the memory that is in the snapshot for it. False: that is none.
bool take_ring(isola_js *js, v8::Local<v8::Value> memory);
// In a new isolate: makes it so large that `batch` records can come at once.
bool grow_ring(isola_js *js, uint32_t batch);

} // namespace isola
