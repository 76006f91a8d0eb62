/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/packages.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"

#define JOBS_MAX       64u               /* of clients at once */
#define HASHES_MAX     (1u << 20)        /* in one question of a client */
#define ANSWER_BYTES   ((size_t)8 << 20) /* of pieces in an answer to another agent */
#define ASKED_MAX      4096u             /* pieces an agent asks for at once */
#define PIECE_LIMIT_MS 60000
#define GRACE_MS       3600000 /* how old pieces are, at the least, that are dropped */

int isola__packages_open(struct isola__packages *p, struct isola__agent *agent,
                         struct isola_err *err)
{
    char *path = isola_format("%s/cache.db", agent->opt.data);
    *p = (struct isola__packages){.agent = agent};
    int code = isola_cache_open(path, &p->cache, err);
    free(path);
    return code;
}

void isola__packages_close(struct isola__packages *p)
{
    isola_cache_close(p->cache);
    p->cache = NULL;
}

/* --- in the pool --- */

static void in_pool(uv_work_t *work)
{
    struct isola__package_job *job = work->data;
    job->run(job);
}

static void on_loop(uv_work_t *work, int status)
{
    struct isola__package_job *job = work->data;
    ISOLA_CHECK(status == 0); /* none is cancelled */
    job->done(job);
}

void isola__packages_run(struct isola__packages *p, struct isola__package_job *job)
{
    job->packages = p;
    job->work.data = job;
    job->err.code = 0;
    int rc = uv_queue_work(&p->agent->loop, &job->work, in_pool, on_loop);
    ISOLA_CHECK(rc == 0);
}

/* --- what a client or another agent asks --- */

struct asked {
    struct isola__package_job job; /* first */
    struct isola__conn *from;      /* counted */
    uint64_t id;
    bool counted;         /* among p->jobs */
    struct isola_buf in;  /* what it came with: hashes, or a msgpack array of pieces */
    struct isola_buf out; /* the answer */
};

static void answered(struct isola__package_job *job)
{
    struct asked *a = (struct asked *)job;
    if (job->err.code != 0)
        isola__fail(a->from, a->id, job->err.code, "%s", job->err.text);
    else if (a->out.len > 0)
        isola__reply_buf(a->from, a->id, &a->out);
    else
        isola__reply(a->from, a->id, isola_slice(NULL, 0));
    if (a->counted)
        job->packages->jobs--;
    isola__conn_unref(a->from);
    isola_buf_free(&a->in);
    isola_buf_free(&a->out);
    free(a);
}

static void take(struct isola__conn *from, const struct isola_msg *m, struct isola_slice in,
                 bool counted, void (*run)(struct isola__package_job *job))
{
    struct isola__packages *p = &from->agent->packages;
    if (counted && p->jobs >= JOBS_MAX) {
        isola__fail(from, m->id, ISOLA_EOVERLOAD, "%u such questions wait on node %s already",
                    JOBS_MAX, from->agent->opt.name);
        return;
    }
    struct asked *a = isola_zalloc(sizeof(*a));
    a->job.run = run;
    a->job.done = answered;
    a->from = from;
    isola__conn_ref(from);
    a->id = m->id;
    a->counted = counted;
    p->jobs += counted;
    isola_buf_append(&a->in, in.data, in.len);
    isola__packages_run(p, &a->job);
}

static bool take_hashes(struct isola_slice params, size_t most, struct isola_slice *out)
{
    return isola_mp_find_bin(params, "pieces", out) && out->len % ISOLA_HASH_SIZE == 0 &&
           out->len / ISOLA_HASH_SIZE <= most;
}

static void find_missing(struct isola__package_job *job)
{
    struct asked *a = (struct asked *)job;
    size_t n = a->in.len / ISOLA_HASH_SIZE;
    struct isola_hash *hashes = (struct isola_hash *)(void *)a->in.data;
    if (n > 0 && isola_cache_missing(job->packages->cache, hashes, &n, &job->err) != 0)
        return;
    isola_mp_map(&a->out, 1);
    isola_mp_cstr(&a->out, "missing");
    isola_mp_bin(&a->out, isola_slice(a->in.data, n * ISOLA_HASH_SIZE));
}

void isola__missing(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice hashes;
    if (!take_hashes(params, HASHES_MAX, &hashes))
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "missing: \"pieces\" must be bin, %u bytes for each of %u at the most",
                    ISOLA_HASH_SIZE, HASHES_MAX);
    else
        take(from, m, hashes, true, find_missing);
}

/* The pieces in a msgpack array: how many; NULL: it is none. The caller frees. */
static struct isola_slice *read_pieces(struct isola_slice array, size_t *n)
{
    struct isola_mp_reader r = isola_mp_reader(array);
    struct isola_mp_item head, piece;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &head))
        return NULL;
    struct isola_slice *pieces = isola_alloc((head.n > 0 ? head.n : 1) * sizeof(*pieces));
    for (*n = 0; *n < head.n; (*n)++) {
        if (!isola_mp_take(&r, ISOLA_MP_BIN, &piece)) {
            free(pieces);
            return NULL;
        }
        pieces[*n] = piece.bytes;
    }
    return pieces;
}

static void keep_pieces(struct isola__package_job *job)
{
    struct asked *a = (struct asked *)job;
    size_t n = 0;
    struct isola_slice *pieces = read_pieces(isola_buf_slice(&a->in), &n);
    if (pieces == NULL)
        isola_fail(&job->err, ISOLA_EINVAL, "pieces: \"pieces\" must be an array of bin");
    else
        (void)(isola_cache_put(job->packages->cache, pieces, n, &job->err) == 0);
    free(pieces);
}

void isola__pieces(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice pieces;
    if (!isola_mp_find(params, "pieces", &pieces))
        isola__fail(from, m->id, ISOLA_EINVAL, "pieces: \"pieces\" must be an array of bin");
    else
        take(from, m, pieces, true, keep_pieces);
}

/* Of those that were asked for the first ones, as many as an answer holds. */
static void give_pieces(struct isola__package_job *job)
{
    struct asked *a = (struct asked *)job;
    const struct isola_hash *hashes = (const struct isola_hash *)(const void *)a->in.data;
    size_t asked = a->in.len / ISOLA_HASH_SIZE, n = 0;
    struct isola_buf pieces = {0}, piece = {0};
    while (job->err.code == 0 && n < asked && pieces.len < ANSWER_BYTES) {
        piece.len = 0;
        if (isola_cache_get(job->packages->cache, &hashes[n], &piece, &job->err) == 0) {
            isola_mp_bin(&pieces, isola_buf_slice(&piece));
            n++;
        }
    }
    if (n > 0)
        job->err.code = 0; /* the one that fails is the first next time */
    isola_mp_map(&a->out, 1);
    isola_mp_cstr(&a->out, "pieces");
    isola_mp_array(&a->out, n);
    isola_buf_append(&a->out, pieces.data, pieces.len);
    isola_buf_free(&pieces);
    isola_buf_free(&piece);
}

void isola__piece(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice hashes;
    if (!take_hashes(params, ASKED_MAX, &hashes) || hashes.len == 0)
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "piece: \"pieces\" must be bin, %u bytes for each of %u at the most",
                    ISOLA_HASH_SIZE, ASKED_MAX);
    else
        take(from, m, hashes, false, give_pieces);
}

/* --- what is in it, and what is in it for nothing --- */

/* The trees of all releases, as bytes one after the other, each behind its length. */
struct survey {
    struct isola__package_job job; /* first */
    struct isola__conn *from;      /* counted; NULL: nobody wants to hear of it */
    uint64_t id;
    bool prune;
    int64_t before; /* what is dropped is older, ms since 1970 */
    struct isola_buf trees;
    struct isola_cache_counts all, used, gone;
};

static void add_tree(struct isola_slice files, void *arg)
{
    struct survey *s = arg;
    isola_mp_bin(&s->trees, files);
}

static void look_through(struct survey *s, const struct isola_tree *const *trees, size_t n)
{
    struct isola_cache *cache = s->job.packages->cache;
    struct isola_err *err = &s->job.err;
    int code = 0;
    if (s->prune)
        code = isola_cache_collect(cache, trees, n, s->before, &s->gone, err);
    if (code == 0 && s->from != NULL)
        code = isola_cache_count(cache, trees, n, &s->all, &s->used, err);
    ISOLA_CHECK(code == err->code);
}

static void survey(struct isola__package_job *job)
{
    struct survey *s = (struct survey *)job;
    struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&s->trees));
    struct isola_mp_item bytes;
    size_t n = 0, room = 0;
    struct isola_tree *trees = NULL;
    while (job->err.code == 0 && isola_mp_take(&r, ISOLA_MP_BIN, &bytes)) {
        if (n == room)
            trees = isola_realloc(trees, (room = 2 * room + 8) * sizeof(*trees));
        if (isola_tree_decode(bytes.bytes, &trees[n], &job->err) == 0)
            n++;
    }
    const struct isola_tree **all = isola_alloc((n + 1) * sizeof(*all));
    for (size_t i = 0; i < n; i++)
        all[i] = &trees[i];
    if (job->err.code == 0)
        look_through(s, all, n);
    for (size_t i = 0; i < n; i++)
        isola_tree_free(&trees[i]);
    free(trees);
    free(all);
}

static void put_counts(struct isola_buf *out, const char *name, struct isola_cache_counts c)
{
    isola_mp_cstr(out, name);
    isola_mp_map(out, 2);
    isola_mp_kuint(out, "pieces", c.pieces);
    isola_mp_kuint(out, "bytes", c.bytes);
}

static void surveyed(struct isola__package_job *job)
{
    struct survey *s = (struct survey *)job;
    struct isola_buf out = {0};
    if (s->from == NULL && job->err.code != 0)
        isola_log(ISOLA_LOG_WARN, "files that no release has any more are still in the cache: %s",
                  job->err.text);
    if (s->prune)
        job->packages->collecting = false;
    if (s->from != NULL && job->err.code != 0) {
        isola__fail(s->from, s->id, job->err.code, "%s", job->err.text);
    } else if (s->from != NULL) {
        isola_mp_map(&out, 4);
        isola_mp_kstr(&out, "node", job->packages->agent->opt.name);
        put_counts(&out, "all", s->all);
        put_counts(&out, "used", s->used);
        put_counts(&out, "gone", s->gone);
        isola__reply_buf(s->from, s->id, &out);
    }
    if (s->from != NULL)
        isola__conn_unref(s->from);
    isola_buf_free(&s->trees);
    free(s);
}

static int begin_survey(struct isola__packages *p, struct isola__conn *from, uint64_t id,
                        bool prune, struct isola_err *err)
{
    struct survey *s = isola_zalloc(sizeof(*s));
    int code = isola_catalog_files(p->agent->catalog, add_tree, s, err);
    if (code == 0 && s->trees.failed)
        code = isola_fail(err, ISOLA_ENOMEM, "out of memory for the lists of files");
    if (code != 0) {
        isola_buf_free(&s->trees);
        free(s);
        return code;
    }
    s->from = from;
    if (from != NULL)
        isola__conn_ref(from);
    s->id = id;
    s->prune = prune;
    s->before = isola_clock_wall_ms() + (from != NULL ? 1 : -GRACE_MS);
    p->collecting |= prune;
    s->job.run = survey;
    s->job.done = surveyed;
    isola__packages_run(p, &s->job);
    return 0;
}

void isola__packages_collect(struct isola__packages *p)
{
    struct isola_err err;
    if (!p->collecting && begin_survey(p, NULL, 0, true, &err) != 0)
        isola_log(ISOLA_LOG_WARN, "files that no release has any more are still in the cache: %s",
                  err.text);
}

void isola__cache(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__packages *p = &from->agent->packages;
    struct isola_err err;
    bool prune = false;
    (void)isola_mp_find_bool(params, "prune", &prune);
    if (prune && p->collecting)
        isola__fail(from, m->id, ISOLA_EBUSY, "that is being done already");
    else if (begin_survey(p, from, m->id, prune, &err) != 0)
        isola__fail(from, m->id, err.code, "%s", err.text);
}

/* --- pulling --- */

static struct isola__pull *pull_of(struct isola__package_job *job)
{
    return (struct isola__pull *)(void *)((char *)job - offsetof(struct isola__pull, job));
}

static void pull_end(struct isola__pull *pull)
{
    if (pull->from != NULL)
        isola__conn_unref(pull->from);
    isola_tree_free(&pull->tree);
    isola_buf_free(&pull->answer);
    free(pull->hashes);
    pull->from = NULL;
    pull->hashes = NULL;
    pull->cb(pull);
}

static void pull_next(struct isola__pull *pull);

/* Those that came are to be those that were asked for, in their order. */
static void keep_pulled(struct isola__package_job *job)
{
    struct isola__pull *pull = pull_of(job);
    size_t n = 0;
    struct isola_slice *pieces = read_pieces(isola_buf_slice(&pull->answer), &n);
    bool good = pieces != NULL && n > 0 && n <= pull->n - pull->at;
    for (size_t i = 0; good && i < n; i++) {
        struct isola_hash h = isola_hash_of(pieces[i]);
        good = memcmp(&h, &pull->hashes[pull->at + i], sizeof(h)) == 0;
    }
    if (!good)
        isola_fail(&job->err, ISOLA_EPROTO, "what it sent is not what it was asked for");
    else if (isola_cache_put(job->packages->cache, pieces, n, &job->err) == 0)
        pull->at += n;
    free(pieces);
}

static void kept_pulled(struct isola__package_job *job)
{
    struct isola__pull *pull = pull_of(job);
    pull->pulled = pull->at;
    isola_buf_free(&pull->answer);
    pull->err = job->err;
    if (pull->err.code != 0)
        pull_end(pull);
    else
        pull_next(pull);
}

static void piece_came(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__pull *pull =
        (struct isola__pull *)(void *)((char *)ask - offsetof(struct isola__pull, ask));
    struct isola_slice pieces = {0};
    if (answer->kind == ISOLA_MSG_FAIL) {
        (void)isola__answer_error(answer, &pull->err);
        pull_end(pull);
        return;
    }
    (void)isola_mp_find(isola__value(answer), "pieces", &pieces);
    isola_buf_append(&pull->answer, pieces.data, pieces.len);
    pull->job.run = keep_pulled;
    pull->job.done = kept_pulled;
    isola__packages_run(pull->job.packages, &pull->job);
}

static void pull_next(struct isola__pull *pull)
{
    size_t n = pull->n - pull->at;
    struct isola_buf params = {0};
    if (n == 0) {
        pull_end(pull);
        return;
    }
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "pieces");
    isola_mp_bin(&params, isola_slice(&pull->hashes[pull->at],
                                      (n < ASKED_MAX ? n : ASKED_MAX) * ISOLA_HASH_SIZE));
    pull->ask = (struct isola__ask){.cb = piece_came};
    isola__ask(pull->from, &pull->ask, "piece", isola_buf_slice(&params), PIECE_LIMIT_MS);
    isola_buf_free(&params);
}

static void find_lacks(struct isola__package_job *job)
{
    struct isola__pull *pull = pull_of(job);
    (void)(isola_cache_lacks(job->packages->cache, &pull->tree, &pull->hashes, &pull->n,
                             &job->err) == 0);
}

static void found_lacks(struct isola__package_job *job)
{
    struct isola__pull *pull = pull_of(job);
    pull->err = job->err;
    if (pull->err.code == 0 && pull->n > 0 && pull->from == NULL)
        isola_fail(&pull->err, ISOLA_ENOENT,
                   "%zu of the pieces that the app's files are made of are not here: deploy again",
                   pull->n);
    if (pull->err.code != 0)
        pull_end(pull);
    else
        pull_next(pull);
}

void isola__packages_pull(struct isola__packages *p, struct isola__pull *pull,
                          struct isola_slice files, struct isola__conn *from)
{
    struct isola_err err;
    int code = isola_tree_decode(files, &pull->tree, &err);
    ISOLA_CHECK(code == 0); /* as it was when its release was decoded */
    pull->from = from;
    if (from != NULL)
        isola__conn_ref(from);
    pull->job.run = find_lacks;
    pull->job.done = found_lacks;
    isola__packages_run(p, &pull->job);
}
