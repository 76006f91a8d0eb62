/* SPDX-License-Identifier: Apache-2.0
 *
 * What scripts have done outside of their isolates: from the workers' mails (actors/host.h) to the
 * JavaScript of the main thread (outside/), and back.
 *
 * A job is known to the runtime by realm and id, to JavaScript by a number. It ends with its last
 * answer or when it is cancelled; what is said of it later means nothing.
 */
#include "base/check.h"
#include "node-agent/actor-host/app.h"
#include "node-agent/actor-host/host_main.h"

struct job {
    uint64_t number;
    struct isola_mail *mail; /* without its bytes: for the origin */
};

/* Both without padding. */
struct job_key {
    struct isola_realm *realm;
    uint64_t id;
};

static struct isola_slice key_slice(const struct job_key *key)
{
    return isola_slice(key, sizeof(*key));
}

static void end(struct app *app, struct job *job)
{
    struct job_key key = {job->mail->origin.realm, job->mail->origin.id};
    isola_map_del(&app->jobs, number_key(&job->number));
    isola_map_del(&app->jobs_by_origin, key_slice(&key));
    isola_mail_free(job->mail);
    free(job);
}

static void start(struct app *app, struct isola_mail *m)
{
    struct isola_slice none = {0};
    struct job *job = isola_zalloc(sizeof(*job));
    job->number = ++app->next_job;
    job->mail = isola_mail_new(m->kind, none, none, none, none, none);
    if (job->mail == NULL) { /* the script waits until its activation ends */
        isola_log(ISOLA_LOG_ERROR, "no memory for a request of a script");
        free(job);
        return;
    }
    job->mail->origin = isola_mail_take_origin(m);
    struct job_key key = {job->mail->origin.realm, job->mail->origin.id};
    isola_map_set(&app->jobs, number_key(&job->number), job);
    isola_map_set(&app->jobs_by_origin, key_slice(&key), job);
    app->outside->start(app->outside->arg, job->number, m->event, m->src, m->dst, m->chain,
                        m->args);
}

static void run_io(struct app *app, struct parcel *parcel)
{
    struct isola_mail *m = ((struct io_parcel *)parcel)->mail;
    struct job_key key = {m->origin.realm, m->origin.id};
    struct job *job = isola_map_get(&app->jobs_by_origin, key_slice(&key));
    free(parcel);
    if (m->kind == ISOLA_MAIL_IO_START) {
        start(app, m);
    } else if (job != NULL && m->kind == ISOLA_MAIL_IO_MORE) {
        app->outside->more(app->outside->arg, job->number);
    } else if (job != NULL && m->kind == ISOLA_MAIL_IO_CANCEL) {
        uint64_t number = job->number;
        end(app, job);
        app->outside->cancel(app->outside->arg, number);
    }
    isola_mail_free(m);
}

void outside_io(void *arg, struct isola_mail *mail)
{
    struct io_parcel *p = isola_zalloc(sizeof(*p));
    p->parcel.run = run_io;
    p->mail = mail;
    outbox_put(arg, &p->parcel);
}

void isola_actor_host_answer(struct app *app, uint64_t number, bool last, struct isola_slice head,
                             struct isola_slice body)
{
    struct job *job = isola_map_get(&app->jobs, number_key(&number));
    if (job == NULL)
        return;
    struct isola_mail *m = isola_io_answer(job->mail, last, head, body);
    if (m == NULL) {
        struct isola_slice none = {0};
        last = true;
        m = isola_io_answer(
            job->mail, true,
            isola_slice_str("{\"error\":{\"name\":\"Error\",\"code\":\"ENOMEM\",\"message\":"
                            "\"no memory for the answer\"}}"),
            none);
    }
    if (last)
        end(app, job);
    if (m != NULL)
        isola_host_answer(app->host, m);
}
