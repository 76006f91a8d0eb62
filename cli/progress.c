/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/text.h"

#define NARROW 80u /* when the terminal does not say how wide it is */

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
