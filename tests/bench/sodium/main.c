/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast libsodium seals on one core: what a link could reach that did nothing else. Takes a
 * command a line, answers with a JSON line:
 *
 *   seal BYTES MS   seals buffers of BYTES with crypto_aead_chacha20poly1305_ietf for MS
 *                   milliseconds → {"n":…,"rate":…}
 *
 * Ends with its standard input; exit status 1 when it does not understand a line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sodium.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Seals the same buffer again and again, each time with the next nonce; 0, or -1 without memory. */
static int seal(size_t bytes, double ms)
{
    unsigned char key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    unsigned char nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES] = {0};
    unsigned char *plain = malloc(bytes);
    unsigned char *sealed = malloc(bytes + crypto_aead_chacha20poly1305_ietf_ABYTES);
    int rc = -1;
    if (!plain || !sealed)
        goto out;
    crypto_aead_chacha20poly1305_ietf_keygen(key);
    randombytes_buf(plain, bytes);
    double start = now_ms(), now = start;
    uint64_t n = 0;
    while (now - start < ms) {
        for (int i = 0; i < 16; i++, n++) {
            crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain, bytes, NULL, 0, NULL,
                                                      nonce, key);
            sodium_increment(nonce, sizeof nonce);
        }
        now = now_ms();
    }
    printf("{\"n\":%" PRIu64 ",\"rate\":%.1f}\n", n, (double)n * 1e3 / (now - start));
    fflush(stdout);
    rc = 0;
out:
    free(plain);
    free(sealed);
    return rc;
}

int main(void)
{
    if (sodium_init() < 0) {
        fprintf(stderr, "sodium: libsodium does not start\n");
        return 1;
    }
    char line[100];
    while (fgets(line, sizeof line, stdin)) {
        size_t bytes;
        double ms;
        if (sscanf(line, "seal %zu %lf", &bytes, &ms) != 2 || bytes == 0 || bytes > 1 << 30) {
            fprintf(stderr, "sodium: expected \"seal BYTES MS\", got: %s", line);
            return 1;
        }
        if (seal(bytes, ms) != 0) {
            fprintf(stderr, "sodium: no memory for %zu bytes\n", bytes);
            return 1;
        }
    }
    return 0;
}
