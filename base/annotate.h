/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a declaration may be called from. LOOP_THREAD: the thread of the loop that owns the object.
 * JS_THREAD: the thread that holds the isolate's lock. POOL_THREAD: may block. ANY_THREAD: safe
 * anywhere.
 */
#ifndef ISOLA_BASE_ANNOTATE_H
#define ISOLA_BASE_ANNOTATE_H

/* Around the declarations of a header that C++ includes too. */
#ifdef __cplusplus
#define ISOLA_BEGIN_C extern "C" {
#define ISOLA_END_C   }
#else
#define ISOLA_BEGIN_C
#define ISOLA_END_C
#endif

/* Of C, for the few words a thread keeps: found without a call, also in an addon (the loader has
 * room for some dozens of words of those that come late). */
#define ISOLA_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

#define ISOLA_MUST_USE __attribute__((warn_unused_result))
#define LOOP_THREAD
#define JS_THREAD
#define POOL_THREAD
#define ANY_THREAD

#endif
