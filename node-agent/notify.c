/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "node-agent/agent.h"

#define AGAIN_MS 100

static void on_timer(uv_timer_t *timer);

/* The line that `systemctl status` shows. */
static char *status_of(const struct isola__agent *agent)
{
    const struct isola__members *members = &agent->members;
    if (agent->state == ISOLA_AGENT_STOPPING)
        return isola_strdup("stopping: actors end the turns they are in");
    if (agent->state == ISOLA_AGENT_STARTING)
        return isola_strdup(agent->opt.token != NULL && !agent->cluster.member
                                ? "starting: joining a cluster"
                                : "starting");
    size_t up = 1;
    for (const struct isola__member *m = members->first; m != NULL; m = m->next)
        up += m->peer != NULL;
    char *where = agent->cluster.member ? isola_format("of cluster %s, %zu of %zu nodes up",
                                                       agent->cluster.name, up, members->count + 1)
                                        : isola_strdup("in no cluster");
    char *all =
        isola_format("node %s %s%s", agent->opt.name, where,
                     agent->host.retired                     ? "; it was removed from it"
                     : agent->host.state == ISOLA_HOST_READY ? ""
                                                             : "; its actor-host starts again");
    free(where);
    return all;
}

static char *text_of(const struct isola__agent *agent)
{
    char *status = status_of(agent);
    char *text = isola_format("%sSTATUS=%s",
                              agent->state == ISOLA_AGENT_STOPPING ? "STOPPING=1\n"
                              : agent->state == ISOLA_AGENT_READY  ? "READY=1\n"
                                                                   : "",
                              status);
    free(status);
    return text;
}

static void set_timer(struct isola__notify *notify, uint64_t ms)
{
    int rc = ms > 0 ? uv_timer_start(&notify->timer, on_timer, ms, 0) : 0;
    ISOLA_CHECK(rc == 0);
}

/* Takes `text`. */
static void say(struct isola__notify *notify, char *text)
{
    char *whole = isola_format("%s%s", text, notify->every_ms > 0 ? "\nWATCHDOG=1" : "");
    ssize_t n = sendto(notify->fd, whole, strlen(whole), MSG_NOSIGNAL | MSG_DONTWAIT,
                       (struct sockaddr *)&notify->to, notify->to_len);
    int error = n < 0 ? errno : 0;
    free(whole);
    if (error == 0) {
        free(notify->told);
        notify->told = text;
        set_timer(notify, notify->every_ms);
        return;
    }
    free(text);
    if (error == EAGAIN || error == ENOBUFS || error == EINTR) {
        set_timer(notify, AGAIN_MS);
        return;
    }
    isola_log(ISOLA_LOG_WARN, "the service manager cannot be told how the agent is: %s",
              strerror(error));
    set_timer(notify, notify->every_ms);
}

static void on_timer(uv_timer_t *timer)
{
    struct isola__notify *notify = timer->data;
    say(notify, text_of(notify->agent));
}

void isola__notify_changed(struct isola__notify *notify)
{
    if (notify->fd < 0)
        return;
    char *text = text_of(notify->agent);
    if (notify->told == NULL || strcmp(text, notify->told) != 0)
        say(notify, text);
    else
        free(text);
}

/* A path, or with @ a name in no file system. */
static bool address(struct isola__notify *notify, const char *where)
{
    size_t len = strlen(where);
    if ((where[0] != '/' && where[0] != '@') || len < 2 || len >= sizeof(notify->to.sun_path))
        return false;
    notify->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify->to.sun_path, where, len);
    notify->to_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (where[0] == '/' ? 1 : 0));
    if (where[0] == '@')
        notify->to.sun_path[0] = '\0';
    return true;
}

/* In ms, half of what the watchdog waits; 0: none is meant for this process. */
static uint64_t watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (usec == NULL || (pid != NULL && strtoul(pid, NULL, 10) != (unsigned long)getpid()))
        return 0;
    uint64_t us = strtoull(usec, NULL, 10);
    return us == 0 ? 0 : us < 2000 ? 1 : us / 2000;
}

void isola__notify_open(struct isola__notify *notify, struct isola__agent *agent)
{
    *notify = (struct isola__notify){.agent = agent, .fd = -1};
    int rc = uv_timer_init(&agent->loop, &notify->timer);
    ISOLA_CHECK(rc == 0);
    notify->timer.data = notify;
    const char *where = getenv("NOTIFY_SOCKET");
    if (where != NULL && where[0] != '\0') {
        if (address(notify, where))
            notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (notify->fd < 0)
            isola_log(ISOLA_LOG_WARN,
                      "the service manager cannot be told how the agent is: NOTIFY_SOCKET is "
                      "\"%.120s\"",
                      where);
        else
            notify->every_ms = watchdog();
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    isola__notify_changed(notify);
}

void isola__notify_close(struct isola__notify *notify)
{
    uv_close((uv_handle_t *)&notify->timer, NULL);
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
    free(notify->told);
    notify->told = NULL;
}
