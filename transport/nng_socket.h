/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket below one of nng's TCP streams, which nng 1.5 has no function to ask for.
 */
#ifndef ISOLA_TRANSPORT_NNG_SOCKET_H
#define ISOLA_TRANSPORT_NNG_SOCKET_H

#include <nng/nng.h>
#include <stdbool.h>

/* A descriptor of its own for the socket of a stream that is connected, or being connected,
 * non-blocking, for the caller to close; it stays good, if of no use, when the stream is closed or
 * freed. -1: there is no more descriptor to be had, or the stream is not connected any more. Takes
 * time in proportion to the open descriptors of the process. Any thread, while nobody frees the
 * stream. */
int isola__nng_socket(nng_stream *stream);
/* Is its connection still being made? Any thread. */
bool isola__socket_connecting(int fd);

#endif
