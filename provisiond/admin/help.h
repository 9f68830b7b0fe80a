/* help.h - what each subcommand takes, for --help and for a wrong call. */
#ifndef LANYARD_PROVISIOND_ADMIN_HELP_H
#define LANYARD_PROVISIOND_ADMIN_HELP_H

#include <stdio.h>

/* Writes the lines of `command`; of all when it is NULL. */
void help_write(FILE *out, const char *command);

#endif
