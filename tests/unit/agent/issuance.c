/* What is left of a device that was forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "agent/api.h"
#include "agent/config.h"
#include "agent/issuance.h"
#include "tests/lib/treedir.h"

struct fixture {
    struct loop *loop;
    enum err e;
};

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_forgotten(void *arg, enum err e, const struct err_info *info)
{
    struct fixture *fx = arg;
    (void)info;
    fx->e = e;
    loop_stop(fx->loop);
}

/* Case 49 of the list of faults: a reload command, the configuration or a command may come to an
 * end while the agent gives back what others gave it, which takes seconds. */
static void test_case_49_nothing_is_written_after_forget(void **state)
{
    struct fixture fx = { .e = ERR_IO };
    struct treedir d;
    struct identity id;
    struct issuance *s;
    struct fetch *pool;
    struct config *config;
    struct err_info info = { "" };
    const struct hook_result hook = { .generation = 1, .at = 1, .output = "done" };
    (void)state;
    treedir_make(&d);
    treedir_write(&d, "agent.conf",
                  "server = \"https://127.0.0.1:1\"\nzone = \"direct.example\"\n"
                  "state_dir = \"state\"\n",
                  0600);
    assert_int_equal(mkdir(treedir_path(&d, "state"), 0700), 0);
    assert_int_equal(config_load(&config, treedir_path(&d, "agent.conf"), &info), ERR_OK);
    assert_int_equal(loop_new(&fx.loop), ERR_OK);
    assert_int_equal(identity_load(&id, config->state_dir, true, &info), ERR_OK);
    assert_int_equal(api_pool_new(&pool, fx.loop, NULL, &id, NULL, &info), ERR_OK);
    const struct issuance_options o = { .config = config,
                                        .identity = &id,
                                        .pool = pool,
                                        .on_certificate = on_nothing,
                                        .on_clock = on_nothing };
    assert_int_equal(issuance_new(&s, fx.loop, &o, &info), ERR_OK);
    issuance_note_hook(s, &hook);
    assert_int_equal(access(treedir_path(&d, "state/state.json"), F_OK), 0);
    issuance_forget(s, true, on_forgotten, &fx);
    loop_run(fx.loop);
    assert_int_equal(fx.e, ERR_OK);
    issuance_note_hook(s, &hook);
    issuance_renew(s);
    issuance_set_config(s, config);
    if (rmdir(treedir_path(&d, "state")) != 0)
        fail_msg("something is left in the state folder");
    issuance_free(s);
    fetch_free(pool);
    identity_clear(&id);
    loop_free(fx.loop);
    config_free(config);
    treedir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_49_nothing_is_written_after_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
