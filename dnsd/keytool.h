/* keytool.h - `lanyard-dnsd key ...`: makes the keys of a signed zone and leads them through their
 * lives. See lanyard-dnsd(8). */
#ifndef LANYARD_DNSD_KEYTOOL_H
#define LANYARD_DNSD_KEYTOOL_H

/* Runs the command; argv[0] is "key". Returns the exit status: 0, 1 when the system failed it, 2
 * when it was asked for what cannot be. */
int keytool_main(int argc, char **argv);

#endif
