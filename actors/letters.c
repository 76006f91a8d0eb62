/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: messages that did not reach a handler, or whose handler crashed. The last of them
 * are kept in memory, for a person who looks for what has become of a message; all are counted.
 *
 * Bounded: LETTERS of them, each with at most ARGS_MAX bytes of values and TEXT_MAX of the reason.
 * They end with the process.
 */
#include "actors/letters.h"

#include "actors/host_own.h"
#include "base/clock.h"

#define ARGS_MAX 4096 /* longer values are left out; their size is kept */
#define TEXT_MAX 512

static struct isola_slice put(uint8_t **at, struct isola_slice s)
{
    struct isola_slice copy = isola_slice(*at, s.len);
    if (s.len > 0)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

static bool is_message(int kind)
{
    return kind == ISOLA_MSG_ASK || kind == ISOLA_MSG_EMIT || kind == ISOLA_MSG_EVENT;
}

void isola_host_dead_letter(struct isola_host *h, const struct isola_mail *mail, int code,
                            struct isola_slice why)
{
    struct isola_letters *l = &h->letters;
    if (!is_message(mail->kind))
        return;
    struct isola_slice none = {0}, args = mail->args.len <= ARGS_MAX ? mail->args : none;
    struct isola_slice event = isola_slice_cut(mail->event, TEXT_MAX),
                       reason = isola_slice_cut(why, TEXT_MAX), to = isola_mail_dst(mail);
    size_t bytes = mail->src.len + to.len + event.len + reason.len + args.len;
    struct isola_host_letter *letter = malloc(sizeof(*letter) + bytes);
    if (letter != NULL) {
        uint8_t *at = (uint8_t *)(letter + 1);
        *letter = (struct isola_host_letter){.time_ms = isola_clock_wall_ms(),
                                             .kind = mail->kind,
                                             .code = code,
                                             .size = mail->args.len};
        letter->from = put(&at, mail->src);
        letter->to = put(&at, to);
        letter->event = put(&at, event);
        letter->reason = put(&at, reason);
        letter->args = put(&at, args);
    }
    pthread_mutex_lock(&l->lock);
    uint64_t seq = l->count++;
    struct isola_host_letter *old = l->ring[seq % ISOLA_LETTERS];
    l->ring[seq % ISOLA_LETTERS] = letter;
    if (letter != NULL)
        letter->seq = seq + 1;
    bool tell = l->watched;
    l->watched = false;
    pthread_mutex_unlock(&l->lock);
    free(old);
    if (tell && h->ops->dead_letter != NULL)
        h->ops->dead_letter(h->arg);
}

void isola_host_watch_letters(struct isola_host *h, bool watch)
{
    pthread_mutex_lock(&h->letters.lock);
    h->letters.watched = watch;
    pthread_mutex_unlock(&h->letters.lock);
}

static bool is_of(const struct isola_host_letter *letter, struct isola_slice of)
{
    struct isola_slice to = letter->to;
    return of.len == 0 ||
           (to.len >= of.len && memcmp(to.data, of.data, of.len) == 0 &&
            (to.len == of.len || (to.data[of.len] == '/' && memchr(of.data, '/', of.len) == NULL)));
}

uint64_t isola_host_letters(struct isola_host *h, struct isola_slice of, uint64_t after,
                            void (*each)(const struct isola_host_letter *letter, void *arg),
                            void *arg)
{
    struct isola_letters *l = &h->letters;
    pthread_mutex_lock(&l->lock);
    uint64_t count = l->count;
    uint64_t first = count > ISOLA_LETTERS ? count - ISOLA_LETTERS : 0;
    for (uint64_t seq = first > after ? first : after; seq < count; seq++) {
        const struct isola_host_letter *letter = l->ring[seq % ISOLA_LETTERS];
        if (letter != NULL && is_of(letter, of))
            each(letter, arg);
    }
    pthread_mutex_unlock(&l->lock);
    return count;
}
