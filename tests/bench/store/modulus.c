/* modulus.c - what it costs to hold one RSA key against those that were seen last in its zone.
 * `bench_modulus URL`; the store should be empty. One line of result. */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/bn.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "provisiond/store/modulus.h"

#define ZONE "direct.example"
#define DEVICE "devicedevicedevicedevicedevice22"
#define BYTES 256
#define ROUNDS 20

static void must(enum err e, const struct err_info *info)
{
    if (e == ERR_OK)
        return;
    (void)fprintf(stderr, "bench_modulus: %s\n", info->text);
    exit(1);
}

/* Numbers without the factors of a sound key are as good as moduli to who multiplies them. */
static void fill(struct sql *db)
{
    struct err_info info = { "" };
    must(sql_begin_tx(db, &info), &info);
    for (int i = 0; i < MODULUS_KEPT; i++) {
        uint8_t n[BYTES];
        struct sql_query q;
        secret_random(n, sizeof n);
        sql_begin(&q, db,
                  "INSERT INTO rsa_modulus (zone, device_id, modulus, seen_at)"
                  " VALUES ($1, $2, $3, 0)");
        sql_bind_text(&q, 1, ZONE);
        sql_bind_text(&q, 2, DEVICE);
        sql_bind_blob(&q, 3, (struct span){ n, sizeof n });
        must(sql_end(&q, NULL, &info), &info);
    }
    must(sql_commit(db, &info), &info);
}

static struct span make_key(uint8_t out[BYTES])
{
    BIGNUM *p = BN_new(), *q = BN_new();
    BN_CTX *ctx = BN_CTX_new();
    if (ctx == NULL || BN_generate_prime_ex(p, 4 * BYTES, 0, NULL, NULL, NULL) != 1 ||
        BN_generate_prime_ex(q, 4 * BYTES, 0, NULL, NULL, NULL) != 1 || BN_mul(p, p, q, ctx) != 1)
        abort();
    int len = BN_bn2bin(p, out);
    BN_free(p);
    BN_free(q);
    BN_CTX_free(ctx);
    return (struct span){ out, (size_t)len };
}

int main(int argc, char **argv)
{
    struct sql *db = NULL;
    struct err_info info = { "" };
    int64_t took_us = 0;
    const char *url = argc == 2 ? argv[1] : getenv("LANYARD_TEST_POSTGRES");
    if (url == NULL) {
        (void)fputs("Usage: bench_modulus URL\n", stderr);
        return 2;
    }
    must(sql_open(&db, url, &info), &info);
    fill(db);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t bytes[BYTES];
        struct span n = make_key(bytes);
        bool shared = false;
        must(sql_begin_tx(db, &info), &info);
        int64_t began_us = clock_mono_us();
        must(modulus_claim(db, ZONE, DEVICE, n, 0, &shared, &info), &info);
        took_us += clock_mono_us() - began_us;
        must(sql_commit(db, &info), &info);
    }
    (void)printf("one key of %d bits against %d: %lld us\n", 8 * BYTES, MODULUS_KEPT,
                 (long long)took_us / ROUNDS);
    sql_close(db);
    return 0;
}
