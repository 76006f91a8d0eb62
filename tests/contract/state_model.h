/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept at an address, as store/state.h promises it, in the simplest way; and changes at
 * random, for a store and this to make. What is found is compared as text.
 */
#ifndef ISOLA_TESTS_STATE_MODEL_H
#define ISOLA_TESTS_STATE_MODEL_H

#include "store/state.h"

struct model {
    bool there;
    struct isola_buf value;
    struct isola_kept *row; /* with what they point to; in order */
    size_t rows;
};

void model_free(struct model *m);
void model_write(struct model *m, const struct isola_state_change *change);
void model_del(struct model *m);
/* All that isola_state_forget may forget. */
void model_forget(struct model *m);

/* "VALUE | PART PEER NUMBER VALUE, …", a value as its length and hash; the caller's to free. Of the
 * rows those of parts up to `last`. */
char *model_text(const struct model *m, uint8_t last);
char *model_text_of(struct isola_slice value, const struct isola_kept *rows, size_t n);

#define MODEL_ROWS 6
/* A change and all that it borrows. */
struct model_change {
    struct isola_state_change change;
    struct isola_kept row[MODEL_ROWS];
    char peer[MODEL_ROWS][24];
    uint8_t *bytes;
};
/* What it holds is new each time `*seed` is. `large`: values of some hundred KB, once in a while.
 * `anew`: what was there before does not matter. */
void model_change_make(struct model_change *c, uint64_t *seed, bool large, bool anew);
void model_change_free(struct model_change *c);

#endif
