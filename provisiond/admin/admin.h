/* admin.h - the subcommands that work on the database of a configuration, beside a running service
 * or without one. Each prints to standard output and returns the exit status: 0, 1 when the thing
 * asked for is not there, 2 for trouble, ADMIN_WRONG_CALL for a wrong call. Blocking. */
#ifndef LANYARD_PROVISIOND_ADMIN_ADMIN_H
#define LANYARD_PROVISIOND_ADMIN_ADMIN_H

#include "provisiond/config.h"
#include "provisiond/store/audit.h"
#include "provisiond/store/sql.h"

#define ADMIN_WRONG_CALL (-1) /* said by admin_usage(); the caller shows the usage */

struct admin {
    const struct config *config;
    struct sql *db;
};

/* argv[0] is the verb after "token" or "device". */
int admin_token(const struct admin *a, int argc, char **argv);
int admin_device(const struct admin *a, int argc, char **argv);
int admin_order(const struct admin *a, int argc, char **argv);
int admin_limits(const struct admin *a, int argc, char **argv); /* argv[0] is the first option */
int admin_audit(const struct admin *a, int argc, char **argv);  /* argv[0] is the first option */

/* argv[0] is the first option; opens the database itself. Returns 0, 1 with warnings, 2 with
 * failures. */
int admin_doctor(const struct admin *a, int argc, char **argv);

int admin_issuer(const struct admin *a, int argc, char **argv); /* argv[0] is the verb */

/* Writes the audit row of an act of this operator, in the transaction of the act. */
NODISCARD enum err admin_note(const struct admin *a, const char *device_id, const char *action,
                              struct err_info *info, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* argv[0] is the first option after "migrate". */
int admin_migrate(const struct admin *a, int argc, char **argv);

/* Reads a number from 1 up; false when it is none. */
bool admin_number(const char *text, int64_t *out);

/* Whether --json is among the arguments; they are without it then. */
bool admin_take_json(int *argc, char **argv);

/* Prints with ? for control characters: what a device, a CA or an operator wrote cannot move the
 * cursor of who reads it. At most `max` bytes. */
void admin_print_plain(const char *text, size_t max);

/* Says on standard error what is wrong with the call, and returns ADMIN_WRONG_CALL. */
int admin_usage(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Ends a command that may have failed: prints the sentence, returns 0, 1 or 2. */
int admin_end(enum err e, const struct err_info *info);

#endif
