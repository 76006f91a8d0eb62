/* SPDX-License-Identifier: Apache-2.0
 *
 * An app's modules to bundles, by one run of esbuild.
 */
#ifndef ISOLA_CLI_BUNDLE_H
#define ISOLA_CLI_BUNDLE_H

#include "store/catalog.h"
#include "store/manifest.h"

/* The most a bundle, or its source map, may have. */
#define ISOLA__BUNDLE_MAX (32u << 20)

struct isola__bundles {
    size_t n;
    struct isola_bundle *bundles; /* one for each type that is an actor, in the manifest's order;
                                     `type` is borrowed from the manifest */
    size_t nmemory;
    struct isola_buf *memory; /* what the slices point into; types of one module share it */
};

/* Bundles the modules of the actors of `m`, an app in `dir`. The same sources give the same bytes,
 * wherever the app lies. ISOLA_EMODULE: esbuild refused, with file, line, column and the code
 * around it. ISOLA_ETOOBIG names the type and what is large in it. ISOLA_ENOENT: no esbuild.
 * ISOLA_ECLOSED: interrupted by a signal. Whatever happens, no process and no file is left behind.
 */
LOOP_THREAD ISOLA_MUST_USE int isola__bundle(const char *dir, const struct isola_manifest *m,
                                             struct isola__bundles *out, struct isola_err *err);
ANY_THREAD void isola__bundles_free(struct isola__bundles *b);

/* What esbuild wrote to stderr (`text`) as one sentence of ours and the code below it. Always fails
 * with ISOLA_EMODULE. */
ANY_THREAD int isola__bundle_explain(struct isola_slice text, const char *dir,
                                     struct isola_err *err);
/* Appends the largest of what esbuild put into the file it calls `output`, as the account at `meta`
 * has it: "src/table.js (20 MB), node_modules/lodash (540 KB), …"; nothing when there is none. */
POOL_THREAD void isola__bundle_largest(const char *meta, const char *output, struct isola_buf *out);
/* A source map's sources made relative to `dir` (absolute, without links), as they were to `from`.
 * ISOLA_EPROTO: it is no source map. */
ANY_THREAD ISOLA_MUST_USE int isola__source_map_rebase(struct isola_buf *map, const char *from,
                                                       const char *dir, struct isola_err *err);

#endif
