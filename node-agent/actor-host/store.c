/* SPDX-License-Identifier: Apache-2.0
 *
 * What the agent wants to know of the store, or wants done with all of it: each in a thread of its
 * own, as it takes as long as it takes to read files.
 */
#include <stdatomic.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "base/thread.h"
#include "node-agent/actor-host/app.h"
#include "store/backup.h"
#include "store/survey.h"

#define JOBS_MAX  4
#define TOP       10
#define SURVEY_MS 3000

struct job {
    struct store_job base; /* first */
    struct isola_survey_options survey;
    char *to; /* of a backup: the directory */
    struct isola_backup_progress progress;
};

static struct store_job *jobs; /* of the one actor-host a process is */
static unsigned njobs;
static struct job *backing_up; /* or NULL */
static atomic_bool stop;

/* --- what a survey says --- */

static void write_files(const struct isola_survey *v, struct isola_buf *out)
{
    isola_mp_cstr(out, "files");
    isola_mp_array(out, v->nfiles);
    for (size_t i = 0; i < v->nfiles; i++) {
        const struct isola_survey_file *f = &v->files[i];
        isola_mp_map(out, 5);
        isola_mp_kstr(out, "name", f->name);
        isola_mp_kuint(out, "bytes", f->bytes);
        isola_mp_kuint(out, "log_bytes", f->log_bytes);
        isola_mp_kbool(out, "checked", f->checked);
        isola_mp_kstr(out, "damage", f->sound ? NULL : f->damage);
    }
}

static void write_rows(const struct isola_survey *v, const char *name, unsigned from, unsigned to,
                       struct isola_buf *out)
{
    uint64_t count = 0, bytes = 0;
    for (unsigned part = from; part <= to; part++) {
        count += v->rows[part].count;
        bytes += v->rows[part].bytes;
    }
    isola_mp_cstr(out, name);
    isola_mp_map(out, 2);
    isola_mp_kuint(out, "rows", count);
    isola_mp_kuint(out, "bytes", bytes);
}

static void write_actors(const struct isola_survey *v, struct isola_buf *out)
{
    isola_mp_kuint(out, "actors", v->actors);
    isola_mp_kuint(out, "state_bytes", v->state_bytes);
    write_rows(v, "messages", ISOLA_KEPT_SENT, ISOLA_KEPT_ANSWER, out);
    write_rows(v, "timers", ISOLA_KEPT_TIMER, ISOLA_KEPT_TIMER, out);
    write_rows(v, "storage", ISOLA_KEPT_ITEM, ISOLA_KEPT_ITEM, out);
    write_rows(v, "sql", ISOLA_KEPT_PAGE, ISOLA_KEPT_PAGE, out);
    isola_mp_kbool(out, "history", v->history);
    isola_mp_kuint(out, "history_bytes", v->history_bytes);
    isola_mp_kuint(out, "history_since", (uint64_t)v->history_since);
    isola_mp_kuint(out, "journal", v->journal);
    isola_mp_kuint(out, "journal_bytes", v->journal_bytes);
    isola_mp_kbool(out, "cut", v->cut);
    isola_mp_cstr(out, "largest");
    isola_mp_array(out, v->nlargest);
    for (size_t i = 0; i < v->nlargest; i++) {
        isola_mp_map(out, 2);
        isola_mp_kstr(out, "address", v->largest[i].address);
        isola_mp_kuint(out, "bytes", v->largest[i].bytes);
    }
}

/* {stores: [of this node]} */
static void report(struct app *app, const struct isola_survey_options *options,
                   struct isola_buf *out)
{
    struct isola_survey v;
    struct isola_state_stats stats;
    struct isola_err failure;
    int64_t failed_at;
    isola_state_survey(app->state, options, &v);
    isola_state_stats(app->state, &stats);
    bool failed = isola_state_failure(app->state, &failure, &failed_at);
    isola_mp_map(out, 1);
    isola_mp_cstr(out, "stores");
    isola_mp_array(out, 1);
    isola_mp_map(out, options->files_only ? 9 : 22);
    isola_mp_kstr(out, "node", app->options.node);
    isola_mp_kuint(out, "now_ms", isola_clock_ms());
    isola_mp_kuint(out, "reads", stats.reads);
    isola_mp_kuint(out, "writes", stats.writes);
    isola_mp_kuint(out, "commits", stats.commits);
    isola_mp_kuint(out, "failed_commits", stats.failed_commits);
    isola_mp_kstr(out, "failure", failed ? failure.text : NULL);
    isola_mp_kuint(out, "failed_at", (uint64_t)failed_at);
    write_files(&v, out);
    if (!options->files_only)
        write_actors(&v, out);
    isola_survey_free(&v);
}

/* --- threads --- */

/* Answers it. */
static void end_job(struct store_job *j)
{
    struct isola_buf out = j->out;
    if (j->asked != 0 && j->err.code != 0)
        agent_link_fail(j->app, j->asked, j->err.code, j->err.text);
    else if (j->asked != 0)
        agent_link_reply(j->app, j->asked, isola_buf_slice(&out));
    j->ended(j);
    isola_buf_free(&out);
}

static void run_done(struct app *app, struct parcel *parcel)
{
    struct store_job *j = (struct store_job *)parcel;
    struct store_job **at = &jobs;
    (void)app;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    njobs--;
    if (!j->joined)
        pthread_join(j->thread, NULL);
    if (j->err.code == 0 && j->out.failed)
        isola_fail(&j->err, ISOLA_ENOMEM, "no memory for the answer");
    end_job(j);
}

static void *run_job(void *arg)
{
    struct store_job *j = arg;
    j->work(j);
    outbox_put(j->app, &j->parcel);
    return NULL;
}

static void run_survey(struct store_job *j)
{
    report(j->app, &((struct job *)j)->survey, &j->out);
}

static void run_backup(struct store_job *j)
{
    struct job *job = (struct job *)j;
    const char *to = job->to;
    struct isola_backup b;
    uint64_t began = isola_clock_ms();
    if (isola_state_backup(j->app->state, j->app->options.node, to, &stop, &job->progress, &b,
                           &j->err) == 0) {
        isola_mp_map(&j->out, 6);
        isola_mp_kstr(&j->out, "node", b.node);
        isola_mp_kstr(&j->out, "path", to);
        isola_mp_kuint(&j->out, "time", (uint64_t)b.time);
        isola_mp_kuint(&j->out, "files", b.files);
        isola_mp_kuint(&j->out, "bytes", b.bytes);
        isola_mp_kuint(&j->out, "took_ms", isola_clock_ms() - began);
        isola_backup_free(&b);
    }
}

static void ended(struct store_job *j)
{
    if (backing_up == (struct job *)j)
        backing_up = NULL;
    free(((struct job *)j)->to);
    free(j);
}

bool store_job(struct store_job *j)
{
    j->parcel.run = run_done;
    if (atomic_load(&stop))
        isola_fail(&j->err, ISOLA_EBUSY, "the node is stopping");
    else if (njobs >= JOBS_MAX)
        isola_fail(&j->err, ISOLA_EBUSY, "the store is being looked through already");
    bool begun = j->err.code == 0 && isola_thread_start(&j->thread, "isola-job", run_job, j) == 0;
    if (begun) { /* `err` is the thread's now */
        j->next = jobs;
        jobs = j;
        njobs++;
        return true;
    }
    if (j->err.code == 0)
        isola_fail(&j->err, ISOLA_ENOMEM, "cannot start a thread");
    end_job(j);
    return false;
}

bool store_stops(void)
{
    return atomic_load(&stop);
}

const atomic_bool *store_stop(void)
{
    return &stop;
}

void store_end(void)
{
    atomic_store(&stop, true);
    for (struct store_job *j = jobs; j != NULL; j = j->next) {
        pthread_join(j->thread, NULL);
        j->joined = true;
    }
}

void store_asked(struct app *app, uint64_t asked, struct isola_slice params)
{
    struct isola_survey_options options = {.ms = SURVEY_MS, .stop = &stop};
    uint64_t top = TOP;
    (void)isola_mp_find_bool(params, "brief", &options.files_only);
    (void)isola_mp_find_bool(params, "check", &options.check);
    (void)isola_mp_find_uint(params, "top", &top);
    options.top = top < ISOLA_SURVEY_TOP_MAX ? (unsigned)top : ISOLA_SURVEY_TOP_MAX;
    if (options.files_only) {
        struct isola_buf out = {0};
        report(app, &options, &out);
        agent_link_reply(app, asked, isola_buf_slice(&out));
        isola_buf_free(&out);
        return;
    }
    struct job *j = isola_zalloc(sizeof(*j));
    *j = (struct job){.base = {.app = app, .asked = asked, .work = run_survey, .ended = ended},
                      .survey = options};
    (void)store_job(&j->base);
}

void backup_asked(struct app *app, uint64_t asked, struct isola_slice params)
{
    struct isola_slice to;
    if (!isola_mp_find_str(params, "path", &to) || to.len == 0 || to.data[0] != '/') {
        agent_link_fail(app, asked, ISOLA_EINVAL,
                        "backup: \"path\" must be the absolute path of a directory");
        return;
    }
    if (backing_up != NULL) {
        agent_link_fail(app, asked, ISOLA_EBUSY, "a backup of this node is being made already");
        return;
    }
    struct job *j = isola_zalloc(sizeof(*j));
    *j = (struct job){.base = {.app = app, .asked = asked, .work = run_backup, .ended = ended},
                      .to = isola_strndup((const char *)to.data, to.len)};
    backing_up = j;
    (void)store_job(&j->base);
}

void backup_progress_asked(struct app *app, uint64_t asked)
{
    struct isola_buf out = {0};
    if (backing_up != NULL) {
        isola_mp_map(&out, 2);
        isola_mp_kuint(&out, "bytes", atomic_load(&backing_up->progress.bytes));
        isola_mp_kuint(&out, "of", atomic_load(&backing_up->progress.of));
    } else {
        isola_mp_nil(&out);
    }
    agent_link_reply(app, asked, isola_buf_slice(&out));
    isola_buf_free(&out);
}
