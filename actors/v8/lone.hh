// SPDX-License-Identifier: Apache-2.0
//
// A message to the actor that has an isolate to itself, called by C.
//
// What the runtime does of a message (lib/runtime/incoming.js) goes through a dozen of its
// functions, and what V8 keeps of each lies in a place of its own. An isolate of thousands that is
// visited for one message has none of them in a cache, and waits for memory more than it works. So
// for a message that comes alone C looks for the handler among those it was told of, and calls it.
//
// lib/runtime/actor.js tells of a handler when it has called it, and takes all of them back
// (Ring::kHandlers) when a script may have changed what is called.
#pragma once

#include <v8-internal.h>
#include <v8.h>

#include <cstdint>

struct isola_js;
struct isola_v8;

namespace isola
{

class Footprint;
struct Ring;

class Lone
{
  public:
    // `handler`: a function, or the name of the method.
    void learn(isola_js *js, uint32_t actor, uint32_t event, v8::Local<v8::Value> handler,
               v8::Local<v8::Object> self);
    // Runs the records of the ring. False: that is to be done as ever.
    bool run(isola_js *js);
    // What that takes, of V8's heap.
    void add_to(Footprint *f, const isola_v8 *v) const;
    void forget();
    void forget(uint32_t actor)
    {
        if (actor == actor_)
            forget();
    }

  private:
    // Of more, those that were learnt last.
    static constexpr uint32_t kMost = 8;
    struct Handler {
        uint32_t event;
        v8::Global<v8::Value> what;
    };
    const Handler *known(const Ring &ring, const int32_t *record) const;
    v8::MaybeLocal<v8::Value> call(isola_js *js, const Handler &handler, int argc,
                                   v8::Local<v8::Value> argv[]);

    uint32_t actor_ = 0, count_ = 0;
    v8::Global<v8::Object> self_;
    Handler handlers_[kMost];
    // The function called last, and when: a collection of garbage may have moved it since.
    v8::internal::Address called_ = 0;
    uint32_t called_at_ = 0;
};

} // namespace isola
