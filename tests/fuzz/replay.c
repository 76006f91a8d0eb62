/* SPDX-License-Identifier: Apache-2.0
 *
 * The main of a fuzz target without a fuzzer: TARGET MUTATIONS CORPUS...: every file of those
 * directories, then so many mutations of them, the same each time. Says what it was at when the
 * target stops the process.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define INPUTS_MAX 10000
#define EDITS      6 /* of one, at the most */

static struct input {
    char *path;
    uint8_t *data;
    size_t len;
} inputs[INPUTS_MAX];
static size_t ninputs;

/* What runs, for the handler. */
static const char *path_now;
static const uint8_t *data_now;
static size_t len_now;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "%s %s\n", what, path);
    exit(2);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct input *)a)->path, ((const struct input *)b)->path);
}

static void read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (f == NULL || fstat(fileno(f), &st) != 0)
        die("cannot read", path);
    struct input *in = &inputs[ninputs++];
    in->path = isola_strdup(path);
    in->len = (size_t)st.st_size;
    in->data = isola_alloc(in->len + 1);
    if (fread(in->data, 1, in->len, f) != in->len)
        die("cannot read all of", path);
    fclose(f);
}

static void read_dir(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        die("no corpus in", path);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] == '.')
            continue;
        if (ninputs == INPUTS_MAX)
            die("too many files in", path);
        char *file = isola_format("%s/%s", path, e->d_name);
        read_file(file);
        free(file);
    }
    closedir(dir);
}

/* As few system calls as can be: the heap may be what is broken. */
static void on_fatal(int number)
{
    char line[400];
    int n = snprintf(line, sizeof(line), "while at %s, %zu bytes:\n", path_now, len_now);
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        _exit(2);
    for (size_t i = 0; i < len_now; i++) {
        static const char digits[] = "0123456789abcdef";
        char hex[2] = {digits[data_now[i] >> 4], digits[data_now[i] & 15]};
        if (write(STDERR_FILENO, hex, 2) < 0)
            _exit(2);
    }
    if (write(STDERR_FILENO, "\n", 1) < 0)
        _exit(2);
    signal(number, SIG_DFL);
    raise(number);
}

/* In memory of just that size, so that a sanitizer sees what lies beside it. */
static void run(const char *path, const uint8_t *data, size_t len)
{
    uint8_t *exact = isola_alloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(exact, data, len);
    path_now = path;
    data_now = exact;
    len_now = len;
    (void)LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static uint64_t state = 1;

static size_t draw(size_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % n;
}

static void edit(struct isola_buf *b)
{
    static const uint8_t telling[] = {0x00, 0x7f, 0x80, 0x90, 0xc1, 0xc4, 0xc9, 0xcf,
                                      0xd9, 0xdc, 0xdd, 0xdf, 0xff, '"',  '}',  '/'};
    size_t at = b->len > 0 ? draw(b->len) : 0, left = b->len - at;
    const struct input *other = &inputs[draw(ninputs)];
    switch (b->len > 0 ? draw(6) : 5) {
    case 0:
        b->data[at] = (uint8_t)draw(256);
        break;
    case 1:
        b->data[at] = telling[draw(sizeof(telling))];
        break;
    case 2: /* cut out */
        left = draw(left) + 1;
        memmove(b->data + at, b->data + at + left, b->len - at - left);
        b->len -= left;
        break;
    case 3: /* cut off */
        b->len = at;
        break;
    case 4: /* repeat */
        left = left < 64 ? left : 64;
        if (isola_buf_extend(b, left) != NULL)
            memmove(b->data + at + left, b->data + at, b->len - left - at);
        break;
    default: /* a piece of another */
        left = other->len > 0 ? draw(other->len) : 0;
        isola_buf_append(b, other->data + left, other->len - left);
        break;
    }
}

static void mutate(void)
{
    struct isola_buf b = {0};
    const struct input *from = &inputs[draw(ninputs)];
    isola_buf_append(&b, from->data, from->len);
    for (size_t n = draw(EDITS) + 1; n > 0; n--)
        edit(&b);
    ISOLA_CHECK(!b.failed);
    run(from->path, b.data, b.len);
    isola_buf_free(&b);
}

int fuzz_replay(int argc, char **argv)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        signal(fatal[i], on_fatal);
    for (int i = 2; i < argc; i++)
        read_dir(argv[i]);
    if (ninputs == 0)
        die("usage:", "TARGET MUTATIONS CORPUS...");
    unsigned long mutations = strtoul(argv[1], NULL, 10);
    qsort(inputs, ninputs, sizeof(inputs[0]), by_path);
    for (size_t i = 0; i < ninputs; i++)
        run(inputs[i].path, inputs[i].data, inputs[i].len);
    for (unsigned long i = 0; i < mutations; i++)
        mutate();
    printf("%zu inputs and %lu mutations of them\n", ninputs, mutations);
    for (size_t i = 0; i < ninputs; i++) {
        free(inputs[i].path);
        free(inputs[i].data);
    }
    return 0;
}

#ifndef FUZZ_WITHIN
int main(int argc, char **argv)
{
    return fuzz_replay(argc, argv);
}
#endif
