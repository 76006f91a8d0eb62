/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/text.h"

#define LOOK_MS 250u
#define NARROW  80u /* when the terminal does not say how wide it is */

void isola__progress_begin(struct isola__progress *p, const struct isola__cli *cli)
{
    *p = (struct isola__progress){.on = isatty(STDERR_FILENO) && !cli->options.json};
}

void isola__progress_clear(struct isola__progress *p)
{
    if (p->shown > 0)
        fprintf(stderr, "\r%*s\r", (int)p->shown, "");
    p->shown = 0;
}

void isola__progress_say(struct isola__progress *p, const char *fmt, ...)
{
    char text[500];
    struct winsize size = {0};
    struct isola_buf line = {0};
    va_list ap;
    if (!p->on)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    size_t room = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 4 ? size.ws_col - 1u
                                                                                  : NARROW - 1;
    isola__progress_clear(p);
    struct isola_slice s = isola_slice_str(text);
    if (isola__text_width(s) > room)
        isola__text_shorten(&line, s, room);
    else
        isola_buf_puts(&line, text);
    if (!line.failed)
        fwrite(line.data, 1, line.len, stderr);
    fflush(stderr);
    p->shown = isola__text_width(isola_buf_slice(&line));
    isola_buf_free(&line);
}

/* Nothing is shown when the agent does not say. */
static void look(struct isola__progress *p, struct isola__client *other, const char *method,
                 struct isola_slice params,
                 void (*show)(struct isola__progress *p, struct isola_slice value))
{
    struct isola_msg *answer = NULL;
    struct isola_slice value;
    struct isola_err err;
    if (isola__client_call(other, method, params, LOOK_MS, &answer, &err) == 0 &&
        answer->kind == ISOLA_MSG_REPLY && isola_mp_at(answer->args, 0, &value))
        show(p, value);
    free(answer);
}

int isola__progress_wait(struct isola__progress *p, const struct isola__cli *cli,
                         struct isola__client *client, uint32_t wait_ms, const char *method,
                         struct isola_slice params,
                         void (*show)(struct isola__progress *p, struct isola_slice value),
                         struct isola_msg **answer, struct isola_err *err)
{
    struct isola__client *other = NULL;
    uint64_t begun = isola_clock_ms();
    if (!p->on)
        return isola__client_answer(client, wait_ms, answer, err);
    int rc = ISOLA_ETIMEDOUT;
    for (uint64_t until = 0; rc == ISOLA_ETIMEDOUT && until < wait_ms;) {
        if (until > 0 && (other != NULL || isola__client_open(cli->socket, &other, err) == 0))
            look(p, other, method, params, show);
        until = isola_clock_ms() - begun + LOOK_MS;
        until = until < wait_ms ? until : wait_ms;
        rc = isola__client_answer(client, (uint32_t)until, answer, err);
    }
    if (other != NULL)
        isola__client_close(other);
    isola__progress_clear(p);
    return rc;
}
