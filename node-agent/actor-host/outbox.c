/* SPDX-License-Identifier: Apache-2.0
 *
 * What workers, the store's thread and checks hand to the loop. uv_async_send coalesces, so the
 * receiver drains all.
 */
#include "base/check.h"
#include "node-agent/actor-host/app.h"

static void on_async(uv_async_t *async)
{
    struct app *app = async->data;
    pthread_mutex_lock(&app->outbox.lock);
    struct parcel *p = app->outbox.head;
    app->outbox.head = NULL;
    pthread_mutex_unlock(&app->outbox.lock);
    while (p != NULL) {
        struct parcel *next = p->next;
        p->run(app, p);
        p = next;
    }
}

int outbox_open(struct app *app, struct isola_err *err)
{
    pthread_mutex_init(&app->outbox.lock, NULL);
    int r = uv_async_init(app->loop, &app->outbox.async, on_async);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot watch for the workers' messages: %s",
                          uv_strerror(r));
    app->outbox.async.data = app;
    return 0;
}

void outbox_put(struct app *app, struct parcel *parcel)
{
    parcel->next = NULL;
    pthread_mutex_lock(&app->outbox.lock);
    bool wake = app->outbox.head == NULL;
    if (wake)
        app->outbox.head = parcel;
    else
        *app->outbox.tail = parcel;
    app->outbox.tail = &parcel->next;
    pthread_mutex_unlock(&app->outbox.lock);
    if (wake)
        uv_async_send(&app->outbox.async);
}
