#include "dnsd/keytool.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "dnsd/config.h"
#include "dnsd/core/zonesign.h"
#include "dnsd/keyfile.h"

enum { EXIT_USAGE = 2 };

static const char USAGE[] =
    "usage: lanyard-dnsd key make -c FILE ZONE            a new key, unseen\n"
    "       lanyard-dnsd key publish -c FILE ZONE TAG     let others see it\n"
    "       lanyard-dnsd key activate -c FILE ZONE TAG    sign with it, and no longer with the "
    "other\n"
    "       lanyard-dnsd key retire -c FILE ZONE TAG      take it out of the zone\n"
    "       lanyard-dnsd key list -c FILE ZONE            all keys and their states\n"
    "       lanyard-dnsd key ds -c FILE ZONE              DS records for the parent zone\n"
    "A running server takes a change over with SIGHUP. What to wait for between the steps: "
    "lanyard-dnsd(8).\n";

struct keytool {
    const char *command, *config;
    char zone[NAME_TEXT_MAX];
    char *dir;
    struct name apex;
    int64_t now_s;
    struct keyfiles *keys;
    struct keyfile *key; /* the one of the tag that was given */
};

static enum err save(const struct keytool *t, const struct keyfile *k, struct err_info *info)
{
    return keyfile_write(k, t->dir, t->zone, true, info);
}

static enum err cmd_make(struct keytool *t, struct err_info *info)
{
    struct keyfile k;
    enum err e;
    do { /* tags are few: one that is taken by another key is not taken again */
        e = keyfile_make(&k, t->now_s);
        if (e == ERR_OK)
            e = keyfile_write(&k, t->dir, t->zone, false, info);
        else
            (void)err_set(info, e, "cannot make a key");
    } while (e == ERR_EXISTS);
    if (e == ERR_OK)
        (void)printf("%u\n", (unsigned)k.tag);
    return e;
}

static enum err cmd_publish(struct keytool *t, struct err_info *info)
{
    if (keyfile_state(t->key, t->now_s) != KEYFILE_MADE)
        return err_set(info, ERR_ILLEGAL, "key %u is %s already", (unsigned)t->key->tag,
                       keyfile_state_name(keyfile_state(t->key, t->now_s)));
    t->key->at_s[KEYFILE_PUBLISHED] = t->now_s;
    return save(t, t->key, info);
}

/* The first key of a zone may go straight to active; a later one has to have been seen before. */
static enum err cmd_activate(struct keytool *t, struct err_info *info)
{
    enum keyfile_state state = keyfile_state(t->key, t->now_s);
    bool other = false;
    for (size_t i = 0; i < t->keys->n; i++)
        other |= keyfile_state(&t->keys->at[i], t->now_s) == KEYFILE_ACTIVE;
    if (state == KEYFILE_ACTIVE || state == KEYFILE_RETIRED)
        return err_set(info, ERR_ILLEGAL, "key %u is %s", (unsigned)t->key->tag,
                       keyfile_state_name(state));
    if (state == KEYFILE_MADE && other)
        return err_set(info, ERR_ILLEGAL,
                       "key %u is not published: publish it, and wait until resolvers and the "
                       "parent zone know it",
                       (unsigned)t->key->tag);
    if (t->key->at_s[KEYFILE_PUBLISHED] == 0)
        t->key->at_s[KEYFILE_PUBLISHED] = t->now_s;
    t->key->at_s[KEYFILE_ACTIVE] = t->now_s;
    t->key->at_s[KEYFILE_INACTIVE] = 0;
    /* of two active keys the later one counts: there is no moment without one */
    enum err e = save(t, t->key, info);
    for (size_t i = 0; e == ERR_OK && i < t->keys->n; i++) {
        struct keyfile *k = &t->keys->at[i];
        if (k == t->key || keyfile_state(k, t->now_s) != KEYFILE_ACTIVE)
            continue;
        k->at_s[KEYFILE_INACTIVE] = t->now_s;
        e = save(t, k, info);
    }
    return e;
}

static enum err cmd_retire(struct keytool *t, struct err_info *info)
{
    enum keyfile_state state = keyfile_state(t->key, t->now_s);
    if (state == KEYFILE_ACTIVE || state == KEYFILE_RETIRED)
        return err_set(info, ERR_ILLEGAL, "key %u is %s%s", (unsigned)t->key->tag,
                       keyfile_state_name(state),
                       state == KEYFILE_ACTIVE ? ": activate another one first" : " already");
    t->key->at_s[KEYFILE_RETIRED] = t->now_s;
    return save(t, t->key, info);
}

static enum err cmd_list(struct keytool *t, struct err_info *info)
{
    (void)info;
    for (size_t i = 0; i < t->keys->n; i++) {
        const struct keyfile *k = &t->keys->at[i];
        enum keyfile_state state = keyfile_state(k, t->now_s);
        char since[CLOCK_TEXT_MAX];
        clock_format(state == KEYFILE_MADE ? k->made_s : k->at_s[state], since, sizeof since);
        (void)printf("%u %s since %s\n", (unsigned)k->tag, keyfile_state_name(state), since);
    }
    return ERR_OK;
}

static enum err cmd_ds(struct keytool *t, struct err_info *info)
{
    for (size_t i = 0; i < t->keys->n; i++) {
        const struct keyfile *k = &t->keys->at[i];
        enum keyfile_state state = keyfile_state(k, t->now_s);
        struct sign_key key;
        uint8_t ds[ZONESIGN_DS_LEN];
        if (state != KEYFILE_PUBLISHED && state != KEYFILE_ACTIVE)
            continue;
        if (sign_key_init(&key, k->secret) != ERR_OK)
            return err_set(info, ERR_NOMEM, "out of memory");
        enum err e = zonesign_ds(ds, &key, &t->apex);
        sign_key_clear(&key);
        if (e != ERR_OK)
            return err_set(info, e, "cannot make a DS record");
        (void)printf("%s. IN DS %u %u %u ", t->zone, (unsigned)k->tag, ds[2], ds[3]);
        for (size_t n = 4; n < sizeof ds; n++)
            (void)printf("%02x", ds[n]);
        (void)printf("\n");
    }
    return ERR_OK;
}

static const struct {
    const char *name;
    bool takes_tag;
    enum err (*run)(struct keytool *t, struct err_info *info);
} COMMANDS[] = {
    { "make", false, cmd_make },        { "publish", true, cmd_publish },
    { "activate", true, cmd_activate }, { "retire", true, cmd_retire },
    { "list", false, cmd_list },        { "ds", false, cmd_ds },
};

static enum err find_key(struct keytool *t, const char *text, struct err_info *info)
{
    char *end;
    unsigned long tag = strtoul(text, &end, 10);
    for (size_t i = 0; *end == 0 && i < t->keys->n; i++) {
        if (t->keys->at[i].tag == tag)
            t->key = &t->keys->at[i];
    }
    return t->key != NULL
               ? ERR_OK
               : err_set(info, ERR_NOTFOUND, "%s: zone %s has no key %s", t->dir, t->zone, text);
}

/* Runs the command in t->command with the rest of its arguments. */
static enum err run(struct keytool *t, int argc, char **argv, struct err_info *info)
{
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
        if (strcmp(COMMANDS[i].name, t->command) != 0)
            continue;
        if (t->config == NULL || argc != (COMMANDS[i].takes_tag ? 2 : 1))
            break;
        if (name_parse(&t->apex, argv[0]) != ERR_OK)
            return err_set(info, ERR_CONFIG, "'%s' is not a zone", argv[0]);
        name_format(&t->apex, t->zone);
        enum err e = config_find_keys(&t->dir, t->config, t->zone, info);
        if (e == ERR_OK)
            e = file_make_dir(t->dir, 0700, info);
        if (e == ERR_OK)
            e = keyfiles_read(&t->keys, t->dir, t->zone, info);
        if (e == ERR_OK && COMMANDS[i].takes_tag)
            e = find_key(t, argv[1], info);
        return e == ERR_OK ? COMMANDS[i].run(t, info) : e;
    }
    return err_set(info, ERR_INVALID, "usage");
}

int keytool_main(int argc, char **argv)
{
    static const struct option LONG[] = { { "config", required_argument, NULL, 'c' },
                                          { NULL, 0, NULL, 0 } };
    struct keytool t = { .command = argc > 1 ? argv[1] : "", .now_s = clock_now_s() };
    struct err_info info = { .text = "" };
    enum err e = ERR_OK;
    int opt;
    argc -= argc > 1;
    argv += argc > 0;
    while ((opt = getopt_long(argc, argv, "c:", LONG, NULL)) != -1) {
        if (opt == 'c')
            t.config = optarg;
        else
            e = ERR_INVALID;
    }
    if (e == ERR_OK)
        e = run(&t, argc - optind, argv + optind, &info);
    if (e == ERR_INVALID)
        (void)fputs(USAGE, stderr);
    else if (e != ERR_OK)
        (void)fprintf(stderr, "lanyard-dnsd: %s\n", info.text);
    keyfiles_free(t.keys);
    free(t.dir);
    if (e == ERR_OK)
        return EXIT_SUCCESS;
    return e == ERR_IO || e == ERR_NOMEM || e == ERR_CRYPTO ? EXIT_FAILURE : EXIT_USAGE;
}
