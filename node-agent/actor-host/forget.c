/* SPDX-License-Identifier: Apache-2.0
 *
 * What nobody will ask for any more goes from the store: which messages of programs have been
 * handled, and answers to durable asks, when they are old. To a program that sends again after such
 * a time that makes no difference: what it sends then follows nothing that is not acknowledged.
 */
#include "node-agent/actor-host/app.h"

#define FORGET_MS      (7ull * 24 * 3600 * 1000)
#define FORGET_EACH_MS (6ull * 3600 * 1000)

static void forgotten(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct app *app = req->arg;
    (void)value;
    atomic_store(&app->forgetting, false);
    if (code != 0)
        isola_log(ISOLA_LOG_WARN, "old marks of durable messages stay: %s", why);
}

static void on_forget(uv_timer_t *timer)
{
    struct app *app = timer->data;
    if (app->shutdown_id != 0 || atomic_exchange(&app->forgetting, true))
        return;
    app->forget_req = (struct isola_state_req){.cb = forgotten, .arg = app};
    isola_state_forget(app->state, &app->forget_req, FORGET_MS);
}

int forget_open(struct app *app, struct isola_err *err)
{
    int r = uv_timer_init(app->loop, &app->forget);
    app->forget.data = app;
    if (r == 0)
        r = uv_timer_start(&app->forget, on_forget, 0, FORGET_EACH_MS);
    return r != 0 ? isola_fail(err, ISOLA_EIO, "cannot make a timer: %s", uv_strerror(r)) : 0;
}
