/* What one signature costs at least: ECDSA P-256 over a digest, one key, one context kept.
 *   sign SECONDS     prints the microseconds of CPU time for each
 */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define AT_ONCE 100 /* between two looks at the clock */

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY_CTX *ctx = key == NULL ? NULL : EVP_PKEY_CTX_new(key, NULL);
    if (argc != 2 || ctx == NULL || EVP_PKEY_sign_init(ctx) <= 0) {
        fprintf(stderr, "usage: sign SECONDS\n");
        return 2;
    }
    unsigned char digest[32] = { 0 }, signature[80];
    unsigned n = 0;
    double began = cpu_s(), spent = 0;
    for (; spent < atof(argv[1]); spent = cpu_s() - began) {
        for (unsigned i = 0; i < AT_ONCE; i++, n++) {
            size_t len = sizeof signature;
            digest[n % sizeof digest]++;
            if (EVP_PKEY_sign(ctx, signature, &len, digest, sizeof digest) <= 0)
                return 1;
        }
    }
    printf("%.3f\n", spent * 1e6 / n);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return 0;
}
