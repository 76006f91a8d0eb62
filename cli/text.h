/* SPDX-License-Identifier: Apache-2.0
 *
 * Foreign text on its way to a person: made well-formed UTF-8, without control characters that
 * would drive a terminal, and measured in columns.
 */
#ifndef ISOLA_CLI_TEXT_H
#define ISOLA_CLI_TEXT_H

#include "base/buf.h"

/* Appends `s` with U+FFFD for every byte that is not UTF-8. */
ANY_THREAD void isola__text_utf8(struct isola_buf *out, struct isola_slice s);

/* As above, for a terminal: control characters but tab and newline become U+FFFD too, so that a
 * script's output cannot move the cursor or write a title. What sets colours is left out. */
ANY_THREAD void isola__text_clean(struct isola_buf *out, struct isola_slice s);

/* Appends `s` with the lines after the first indented, below what the first one begins with. */
ANY_THREAD void isola__text_indent(struct isola_buf *out, struct isola_slice s);

/* Columns on a terminal: wide characters count 2, combining ones 0. */
ANY_THREAD size_t isola__text_width(struct isola_slice s);

/* Appends `s`, which is clean and has more than `columns` (3 or more), in so many at the most: "…"
 * stands for its middle, as both ends of an address or a URL tell more than its beginning alone. */
ANY_THREAD void isola__text_shorten(struct isola_buf *out, struct isola_slice s, size_t columns);

#endif
