/* SPDX-License-Identifier: Apache-2.0
 *
 * What is prepared of a type's module, so that activation does not grow with the app: V8's code for
 * it, and an image, a snapshot with the module evaluated (v8/image.cc).
 *
 * The first isolate of a type begins from source, or from code kept by an earlier process, and has
 * the rest made, once, elsewhere (ops->prepare); those after it begin with what has come of that.
 * Isolates that many actors share take the code alone: there are few of them.
 *
 * Failure modes: a module that allows no image, or cannot be prepared: a reason, which `ps` shows,
 * and the next best. Code that V8 rejects is dropped and made anew. Images have a bound for the
 * whole host; past it types begin from code.
 */
#include "actors/prepared.h"

#include <stdio.h>

#include "actors/host_own.h"
#include "actors/limits.h"
#include "actors/mappings.h"

/* Bytes of all images of a host. */
#define IMAGES_MAX (256u << 20)

struct isola_prepared {
    pthread_mutex_t lock;
    bool asked;
    struct isola_buf cache[2]; /* as kept before, as made here; either may be empty */
    int use;                   /* which one */
    struct isola_v8_image *image;
    size_t image_len;
    struct isola_host *host; /* whose bound image_len counts for */
    char why[200];           /* why there is no image; empty while nobody knows */
    atomic_int shared_start;
};

struct request {
    struct isola_prepare req; /* first */
    struct isola_host *host;
    const struct isola_type *type; /* holds a reference to its release */
    char *file;
};

struct isola_prepared *isola__prepared_new(struct isola_slice cache)
{
    struct isola_prepared *p = isola_zalloc(sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    isola_buf_append(&p->cache[0], cache.data, cache.len);
    return p;
}

void isola__prepared_free(struct isola_prepared *p)
{
    if (p->image != NULL)
        atomic_fetch_sub(&p->host->image_bytes, p->image_len);
    isola_v8_image_free(p->image);
    isola_buf_free(&p->cache[0]);
    isola_buf_free(&p->cache[1]);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

char *isola__module_file(const struct isola_type *type)
{
    return isola_format("isola:%s/%s", type->release->app, type->def.module);
}

/* --- making --- */

static void prepared(struct isola_prepare *req, struct isola_slice cache, struct isola_slice image,
                     const char *why)
{
    struct request *q = (struct request *)(void *)req;
    struct isola_host *h = q->host;
    struct isola_prepared *p = q->type->prepared;
    struct isola_v8_image *made = NULL;
    struct isola_err err = {0};
    if (image.len > 0 && atomic_fetch_add(&h->image_bytes, image.len) + image.len > IMAGES_MAX) {
        atomic_fetch_sub(&h->image_bytes, image.len);
        image.len = 0;
        why = "the images of this node would take more than 256 MB";
    }
    if (image.len > 0 && isola_v8_image_new(image, q->type->def.code, &made, &err) != 0) {
        atomic_fetch_sub(&h->image_bytes, image.len);
        why = err.text;
    }
    pthread_mutex_lock(&p->lock);
    if (cache.len > 0 && p->cache[1].len == 0) { /* never changed again: it may be in use */
        isola_buf_append(&p->cache[1], cache.data, cache.len);
        p->use = 1;
    }
    if (made != NULL) {
        p->image = made;
        p->image_len = image.len;
        p->host = h;
    } else if (req->want_image) {
        snprintf(p->why, sizeof(p->why), "%.190s", why != NULL ? why : "no image was made of it");
    }
    pthread_mutex_unlock(&p->lock);
    isola__release_unref(q->type->release);
    free(q->file);
    free(q);
}

/* Has made what there is not; `p` is locked. */
static void ask(struct isola_host *h, const struct isola_type *type)
{
    struct isola_prepared *p = type->prepared;
    bool image = !type->def.shared && p->image == NULL;
    bool cache = p->cache[p->use].len == 0;
    if (p->asked || (!image && !cache))
        return;
    p->asked = true;
    if (type->def.shared)
        snprintf(p->why, sizeof(p->why), "actors share its isolate");
    if (h->ops->prepare == NULL) {
        snprintf(p->why, sizeof(p->why), "nothing is prepared here");
        return;
    }
    struct request *q = isola_zalloc(sizeof(*q));
    q->host = h;
    q->type = type;
    isola__release_ref(type->release);
    q->file = isola__module_file(type);
    q->req = (struct isola_prepare){.done = prepared,
                                    .app = type->release->app,
                                    .release = type->release->id,
                                    .type = type->def.name,
                                    .file = q->file,
                                    .code = type->def.code,
                                    .env = type->release->env,
                                    .secrets = type->release->secrets,
                                    .heap = isola__limits_of(type).heap,
                                    .external = isola__limits_of(type).external,
                                    .want_cache = cache,
                                    .want_image = image};
    h->ops->prepare(h->arg, &q->req);
}

/* --- using --- */

const struct isola_v8_image *isola__prepared_image(struct isola_host *h,
                                                   const struct isola_type *type)
{
    struct isola_prepared *p = type->prepared;
    pthread_mutex_lock(&p->lock);
    ask(h, type);
    const struct isola_v8_image *image = p->image;
    pthread_mutex_unlock(&p->lock);
    return image;
}

int isola__prepared_open(struct isola_realm *r, const struct isola_type *type,
                         struct isola_v8 **out, struct isola_err *err)
{
    const struct isola_v8_image *image = type != NULL ? isola__prepared_image(r->host, type) : NULL;
    int code = 0;
    *out = type != NULL ? isola__spare_take(r, type, image) : NULL;
    if (*out == NULL && (code = isola__mappings_take(r->host, err)) == 0)
        code = isola_v8_open(&isola__v8_ops, r, r->limits, image, out, err);
    if (code == 0 && type != NULL)
        isola__spare_want(r->host, type);
    if (code != 0 || image == NULL)
        return code;
    struct isola_module *m = isola_zalloc(sizeof(*m));
    m->state = ISOLA_MODULE_READY;
    isola_map_set(&r->modules, isola_slice_str(type->def.name), m);
    atomic_store(&r->start, ISOLA_START_IMAGE);
    return 0;
}

void isola__prepared_load(struct isola_realm *r, const struct isola_type *type)
{
    struct isola_host *h = r->host;
    struct isola_prepared *p = type->prepared;
    pthread_mutex_lock(&p->lock);
    if (r->shared)
        ask(h, type);
    int use = p->use;
    struct isola_slice cache = isola_buf_slice(&p->cache[use]);
    pthread_mutex_unlock(&p->lock);
    if (r->check != NULL) /* what is checked is what was sent */
        cache.len = 0;
    char *file = isola__module_file(type);
    atomic_store(&r->start, cache.len > 0 ? ISOLA_START_CACHE : ISOLA_START_SOURCE);
    bool used = isola_js_load(r->js, isola_slice_str(type->def.name), type->def.code,
                              isola_slice_str(file), cache);
    if (!used)
        atomic_store(&r->start, ISOLA_START_SOURCE);
    atomic_store(&p->shared_start, atomic_load(&r->start));
    if (cache.len > 0 && !used) {
        isola__host_logf(h, ISOLA_LOG_WARN, (struct isola_slice){0},
                         "V8 rejects the code kept of %s: it is made anew", file);
        pthread_mutex_lock(&p->lock);
        if (p->use == use) { /* `cache` may be in use: it stays until the release goes */
            p->use = 1;
            p->asked = p->cache[1].len > 0;
            ask(h, type);
        }
        pthread_mutex_unlock(&p->lock);
    }
    free(file);
}

const char *isola__prepared_start(const struct isola_actor *a, char why[ISOLA_WHY_SIZE])
{
    static const char *const names[] = {NULL, "source", "cache", "snapshot"};
    struct isola_prepared *p = a->type->prepared;
    const char *start = names[atomic_load(a->realm->shared ? &p->shared_start : &a->realm->start)];
    why[0] = '\0';
    if (start == NULL || start == names[ISOLA_START_IMAGE])
        return start;
    pthread_mutex_lock(&p->lock);
    snprintf(why, ISOLA_WHY_SIZE, "%s",
             p->image != NULL    ? "its snapshot was not ready when it began"
             : p->why[0] != '\0' ? p->why
                                 : "its snapshot is being made");
    pthread_mutex_unlock(&p->lock);
    return start;
}
