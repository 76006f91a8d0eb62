/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/link_report.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "transport/link_impl.h"
#include "transport/secure.h"

void isola_link_past_note(struct isola_link_past *past, bool lost, const char *why)
{
    if (lost) {
        past->lost++;
        past->lost_at = isola_clock_ms();
    }
    snprintf(past->why, sizeof(past->why), "%s", why);
}

void isola_link_report(const struct isola_link_about *about, struct isola_link *link,
                       struct isola_buf *out)
{
    struct isola_link_stats s = {0};
    uint64_t now = isola_clock_ms();
    if (link != NULL)
        isola_link_stats(link, &s);
    bool up = s.up_ms != 0;
    static const struct isola_link_past none;
    const struct isola_link_past *past = about->past != NULL ? about->past : &none;
    isola_mp_map(out, 22);
    isola_mp_kstr(out, "node", about->node);
    isola_mp_kstr(out, "peer", about->peer);
    isola_mp_kstr(out, "kind", about->kind);
    isola_mp_kstr(out, "direction", about->dialled ? "out" : "in");
    isola_mp_kstr(out, "state", about->state);
    isola_mp_kstr(out, "url",
                  about->url == NULL && link != NULL ? isola_link_peer(link) : about->url);
    isola_mp_kstr(out, "version", about->version);
    isola_mp_cstr(out, "rtt_us");
    if (s.rtt_ns > 0)
        isola_mp_uint(out, s.rtt_ns / 1000);
    else
        isola_mp_nil(out);
    isola_mp_kuint(out, "messages_in", s.frames_in);
    isola_mp_kuint(out, "messages_out", s.frames_out);
    isola_mp_kuint(out, "bytes_in", s.bytes_in);
    isola_mp_kuint(out, "bytes_out", s.bytes_out);
    isola_mp_kuint(out, "queued", s.queued_frames + about->queued);
    isola_mp_kuint(out, "queued_bytes", s.queued_bytes + about->queued_bytes);
    isola_mp_kuint(out, "refused", s.refused + past->refused);
    isola_mp_kuint(out, "wire", s.wire);
    bool sealed = up && link->secure != NULL;
    isola_mp_kstr(out, "cipher", sealed ? isola__noise_name(link->secure->pattern) : NULL);
    isola_mp_kuint(out, "rekeys",
                   sealed ? atomic_load_explicit(&link->secure->tx.rekeys, memory_order_relaxed) +
                                atomic_load_explicit(&link->secure->rx.rekeys, memory_order_relaxed)
                          : 0);
    isola_mp_kuint(out, "lost", past->lost);
    isola_mp_cstr(out, "lost_ms");
    if (past->lost > 0)
        isola_mp_uint(out, now > past->lost_at ? now - past->lost_at : 0);
    else
        isola_mp_nil(out);
    isola_mp_kstr(out, "why", past->why[0] != '\0' ? past->why : NULL);
    isola_mp_cstr(out, "up_ms");
    if (up)
        isola_mp_uint(out, now > s.up_ms ? now - s.up_ms : 0);
    else
        isola_mp_nil(out);
}

void isola_listener_report(const char *node, const char *kind,
                           const struct isola_listener *listener, struct isola_buf *out)
{
    struct isola_listener_stats s;
    isola_listener_stats(listener, &s);
    isola_mp_map(out, 6);
    isola_mp_kstr(out, "node", node);
    isola_mp_kstr(out, "kind", kind);
    isola_mp_kstr(out, "url", isola_listener_url(listener));
    isola_mp_kuint(out, "accepted", s.accepted);
    isola_mp_kuint(out, "refused", s.refused);
    isola_mp_kuint(out, "strangers", s.strangers);
}
