/* SPDX-License-Identifier: Apache-2.0
 *
 * Work for a store, by a seed, and a book of it: what was asked at each address, when it was
 * answered, and so what may be found there later. Times are numbers of operations of the disk the
 * store is on.
 *
 * What may be there after operation K: the last change that was answered by then, or one of those
 * after it that had been asked for. A change that failed is not there when a later one of its
 * address is.
 */
#ifndef ISOLA_TESTS_STATE_WORK_H
#define ISOLA_TESTS_STATE_WORK_H

#include "crash_disk.h"
#include "state_model.h"

#define WORK_ADDRESSES 16

/* What there is at all addresses. */
struct findings {
    char *text[WORK_ADDRESSES]; /* of model_text */
};
void findings_free(struct findings *f);

struct work;
/* `is`: what there is already, or NULL: nothing; takes it. */
struct work *work_new(const struct disk *disk, uint64_t seed, struct findings *is);
void work_free(struct work *w);
const char *work_address(size_t i);
/* From now on nothing is asked to be forgotten: when that fails, some of it may be. */
void work_forgets_nothing(struct work *w);

/* Asks for `n` things; when something was there already, for such as do not build on it. `large`:
 * some with large values. */
void work_ask(struct work *w, struct isola_state *s, size_t n, bool large);
/* Until all is answered. */
void work_wait(struct work *w);

struct work_answers {
    size_t done, failed, reads_failed;
    char why[1000]; /* of the first that failed */
};
void work_answers(const struct work *w, struct work_answers *out);

/* When all is answered: whether each read has seen what was written before it, and no error came
 * without a sentence. NULL, or what was wrong; the caller's to free. */
char *work_judge(struct work *w);
/* After work_judge. NULL, or what is wrong; the caller's to free. */
char *work_compare(const struct work *w, size_t ops, const struct findings *found);

#endif
