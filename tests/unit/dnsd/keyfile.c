/* Key files: what is written is read again, by ldns too; the states that their times make; what is
 * refused; and the ring that a folder of them is at some moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ldns/ldns.h>
#include <sys/stat.h>

#include "common/base/attr.h"
#include "dnsd/keyfile.h"
#include "tmpdir.h"

#define ZONE "direct.example"
#define NOW (SIGN_CLOCK_MIN + 1700000)
#define DAY 86400

static struct tmpdir dir;

static int set_up(void **state)
{
    (void)state;
    tmpdir_make(&dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

static const char *path_of(const struct keyfile *k)
{
    char name[64];
    (void)snprintf(name, sizeof name, "K" ZONE ".+013+%05u.private", (unsigned)k->tag);
    return tmpdir_file(&dir, name);
}

/* A key with these times, from publication to retirement; written. */
static struct keyfile put_key(const int64_t at_s[4])
{
    struct keyfile k;
    assert_int_equal(keyfile_make(&k, NOW - 30 * DAY), ERR_OK);
    for (unsigned i = 0; i < 4; i++)
        k.at_s[KEYFILE_PUBLISHED + i] = at_s[i];
    assert_int_equal(keyfile_write(&k, dir.path, ZONE, false, NULL), ERR_OK);
    return k;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    const struct keyfile k = put_key((int64_t[]){ NOW, NOW + 1, 0, NOW + 3 });
    struct keyfiles *read = NULL;
    struct stat st;
    assert_int_equal(stat(path_of(&k), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(keyfiles_read(&read, dir.path, ZONE, NULL), ERR_OK);
    assert_int_equal(read->n, 1);
    assert_int_equal(read->at[0].tag, k.tag);
    assert_int_equal(read->at[0].made_s, k.made_s);
    assert_memory_equal(read->at[0].at_s, k.at_s, sizeof k.at_s);
    assert_memory_equal(read->at[0].secret, k.secret, sizeof k.secret);
    keyfiles_free(read);
    /* nothing is overwritten that was not meant to be */
    assert_int_not_equal(keyfile_write(&k, dir.path, ZONE, false, NULL), ERR_OK);
    assert_int_equal(keyfile_write(&k, dir.path, ZONE, true, NULL), ERR_OK);
    assert_int_equal(tmpdir_count(&dir), 1);
    (void)remove(path_of(&k));
}

/* ldns reads the file, and its public key is that of our DNSKEY record. */
static void ldns_reads_it(void **state)
{
    (void)state;
    const struct keyfile k = put_key((int64_t[]){ NOW, NOW, 0, 0 });
    FILE *f = fopen(path_of(&k), "r");
    ldns_key *key = NULL;
    struct sign_key ours;
    assert_non_null(f);
    assert_int_equal(ldns_key_new_frm_fp(&key, f), LDNS_STATUS_OK);
    fclose(f);
    assert_int_equal(ldns_key_algorithm(key), LDNS_SIGN_ECDSAP256SHA256);
    ldns_key_set_flags(key, 257);
    ldns_key_set_pubkey_owner(key, ldns_dname_new_frm_str(ZONE));
    ldns_rr *rr = ldns_key2rr(key);
    assert_int_equal(ldns_calc_keytag(rr), k.tag);
    assert_int_equal(sign_key_init(&ours, k.secret), ERR_OK);
    const ldns_rdf *public = ldns_rr_dnskey_key(rr);
    assert_int_equal(ldns_rdf_size(public), SIGN_DNSKEY_LEN - 4);
    assert_memory_equal(ldns_rdf_data(public), ours.dnskey + 4, SIGN_DNSKEY_LEN - 4);
    sign_key_clear(&ours);
    ldns_rr_free(rr);
    ldns_key_deep_free(key);
    (void)remove(path_of(&k));
}

static void states(void **state)
{
    static const struct {
        const char *why;
        int64_t at_s[4];
        enum keyfile_state want;
    } CASES[] = {
        { "no times", { 0, 0, 0, 0 }, KEYFILE_MADE },
        { "planned", { NOW + 1, 0, 0, 0 }, KEYFILE_MADE },
        { "from the second on", { NOW, NOW + 1, 0, 0 }, KEYFILE_PUBLISHED },
        { "signing", { NOW - 2, NOW, NOW + 1, 0 }, KEYFILE_ACTIVE },
        { "never published in writing", { 0, NOW, 0, 0 }, KEYFILE_ACTIVE },
        { "ended", { NOW - 3, NOW - 2, NOW, NOW + 1 }, KEYFILE_INACTIVE },
        { "gone", { NOW - 4, NOW - 3, NOW - 2, NOW }, KEYFILE_RETIRED },
        { "gone at once", { 0, NOW - 3, 0, NOW }, KEYFILE_RETIRED },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct keyfile k = { .tag = 1 };
        memcpy(k.at_s + KEYFILE_PUBLISHED, CASES[i].at_s, sizeof CASES[i].at_s);
        if (keyfile_state(&k, NOW) != CASES[i].want)
            fail_msg("%s: %s", CASES[i].why, keyfile_state_name(keyfile_state(&k, NOW)));
    }
}

#define HEAD "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n"
/* the example of RFC 6605 s6.1, whose tag is 55648 */
#define SECRET "PrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n"

static void what_is_refused(void **state)
{
    static const struct {
        const char *why, *tag, *text, *says;
    } CASES[] = {
        { "RFC 6605's key", "55648", HEAD SECRET "Created: 20261101000000\n", NULL },
        { "another tag", "55649", HEAD SECRET, "this is not the key of tag" },
        { "nothing", "55648", "", "is not whole" },
        { "no secret", "55648", HEAD, "is not whole" },
        { "no algorithm", "55648", "Private-key-format: v1.3\n" SECRET, "is not whole" },
        { "another algorithm", "55648",
          "Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\n" SECRET, ":2: not a line" },
        { "one that begins alike", "55648", "Private-key-format: v1.3\nAlgorithm: 130\n" SECRET,
          ":2: not a line" },
        { "another format", "55648", "Private-key-format: v2.0\n", ":1: not a line" },
        { "a secret that is short", "55648", HEAD "PrivateKey: GU6S\n", ":3: not a line" },
        { "a secret that is no base64", "55648",
          HEAD "PrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6m*=\n", ":3: not a line" },
        { "zero", "55648", HEAD "PrivateKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
          "this is not the key of tag" },
        { "more than the order of the curve", "55648",
          HEAD "PrivateKey: //////////////////////////////////////////8=\n",
          "this is not the key of tag" },
        { "a time that is none", "55648", HEAD SECRET "Activate: 20261301000000\n",
          ":4: not a line" },
        { "a time with more behind it", "55648", HEAD SECRET "Activate: 20261101000000x\n",
          ":4: not a line" },
        { "a line that is none", "55648", HEAD SECRET "Activate\n", ":4: not a line" },
        { "what BIND writes besides", "55648", HEAD SECRET "SyncPublish: 20261101000000\n", NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct keyfiles *read = NULL;
        struct err_info info = { .text = "" };
        char name[64];
        (void)snprintf(name, sizeof name, "K" ZONE ".+013+%s.private", CASES[i].tag);
        tmpdir_write(&dir, name, CASES[i].text);
        assert_int_equal(chmod(tmpdir_file(&dir, name), 0600), 0);
        enum err e = keyfiles_read(&read, dir.path, ZONE, &info);
        if (e != (CASES[i].says == NULL ? ERR_OK : ERR_CONFIG) ||
            (CASES[i].says != NULL && strstr(info.text, CASES[i].says) == NULL))
            fail_msg("%s: %s %s", CASES[i].why, err_name(e), info.text);
        keyfiles_free(read);
        (void)remove(tmpdir_file(&dir, name));
    }
}

/* Files of other zones, algorithms and kinds are not looked at. */
static void only_its_own_files_count(void **state)
{
    (void)state;
    static const char *const OTHERS[] = {
        "K" ZONE ".+013+00001.key",          "K" ZONE ".+008+00001.private",
        "Kother.example.+013+00001.private", "K" ZONE ".+013+1.private",
        "K" ZONE ".+013+99999.private",      "K" ZONE ".+013+00001.private~",
    };
    struct keyfiles *read = NULL;
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++)
        tmpdir_write(&dir, OTHERS[i], "nonsense");
    assert_int_equal(keyfiles_read(&read, dir.path, ZONE, NULL), ERR_OK);
    assert_int_equal(read->n, 0);
    keyfiles_free(read);
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++)
        (void)remove(tmpdir_file(&dir, OTHERS[i]));
}

#define P (NOW - 9 * DAY) /* some time ago */

static void rings(void **state)
{
    static const struct {
        const char *why;
        size_t n_keys;
        int64_t at_s[5][4];
        const char *says; /* or NULL: */
        size_t n, n_wanted;
        size_t active; /* number of the key */
        int64_t changes_s, changed_s;
    } CASES[] = {
        { "one that signs", 1, { { P, P } }, NULL, 1, 1, 0, 0, P },
        { "none", 0, { { 0 } }, "no active key", 0, 0, 0, 0, 0 },
        { "case 12: its time is over", 1, { { P, P, NOW } }, "no active key", 0, 0, 0, 0, 0 },
        { "its time will be over", 1, { { P, P, NOW + 9 } }, NULL, 1, 1, 0, NOW + 9, P },
        { "a second one is seen", 2, { { P, P }, { P } }, NULL, 2, 2, 0, 0, P },
        { "a second one is planned",
          2,
          { { P, P }, { NOW + 5, NOW + 7 } },
          NULL,
          1,
          1,
          0,
          NOW + 5,
          P },
        { "the later one signs", 2, { { P, P }, { P, P + 1 } }, NULL, 2, 2, 1, 0, P + 1 },
        { "the old one is not wanted",
          2,
          { { P, P, P + 1 }, { P, P + 1 } },
          NULL,
          2,
          1,
          1,
          0,
          P + 1 },
        { "the old one is gone", 2, { { P, P, P, P + 1 }, { P, P } }, NULL, 1, 1, 1, 0, P + 1 },
        { "too many",
          5,
          { { P, P }, { P }, { P }, { P }, { P } },
          "more than 4 keys",
          0,
          0,
          0,
          0,
          0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct keyring *ring = NULL;
        struct err_info info = { .text = "" };
        struct keyfile keys[5];
        for (size_t k = 0; k < CASES[i].n_keys; k++)
            keys[k] = put_key(CASES[i].at_s[k]);
        enum err e = keyfile_ring(&ring, dir.path, ZONE, NOW, &info);
        if ((e == ERR_OK) != (CASES[i].says == NULL) ||
            (e != ERR_OK && strstr(info.text, CASES[i].says) == NULL))
            fail_msg("%s: %s %s", CASES[i].why, err_name(e), info.text);
        size_t n_wanted = 0;
        for (size_t k = 0; e == ERR_OK && k < ring->n; k++)
            n_wanted += ring->keys[k].wanted ? 1 : 0;
        if (e == ERR_OK &&
            (ring->n != CASES[i].n || n_wanted != CASES[i].n_wanted ||
             ring->keys[ring->active].key.tag != keys[CASES[i].active].tag ||
             ring->changes_s != CASES[i].changes_s || ring->changed_s != CASES[i].changed_s ||
             ring->made_s != NOW - 30 * DAY))
            fail_msg("%s: %zu keys", CASES[i].why, ring->n);
        keyring_free(ring);
        for (size_t k = 0; k < CASES[i].n_keys; k++)
            (void)remove(path_of(&keys[k]));
    }
}

static void case_12_a_key_from_the_future(void **state)
{
    (void)state;
    struct keyring *ring = NULL;
    struct err_info info = { .text = "" };
    const struct keyfile k = put_key((int64_t[]){ P, P, 0, 0 });
    int64_t made_s = NOW - 30 * DAY;
    assert_int_equal(keyfile_ring(&ring, dir.path, ZONE, made_s - DAY, &info), ERR_CONFIG);
    assert_non_null(strstr(info.text, "set the clock"));
    /* a clock that was set back a little is believed */
    assert_int_equal(keyfile_ring(&ring, dir.path, ZONE, made_s - KEYRING_SLACK_S, &info),
                     ERR_CONFIG);
    assert_null(strstr(info.text, "set the clock")); /* only that it does not sign yet */
    (void)remove(path_of(&k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(ldns_reads_it),
        cmocka_unit_test(states),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(only_its_own_files_count),
        cmocka_unit_test(rings),
        cmocka_unit_test(case_12_a_key_from_the_future),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
