/* forecast.h - the command "limits forecast". Blocking. */
#ifndef LANYARD_PROVISIOND_ADMIN_FORECAST_H
#define LANYARD_PROVISIOND_ADMIN_FORECAST_H

#include "provisiond/admin/admin.h"

/* argv[0] is "forecast". Returns the exit status. */
int forecast(const struct admin *a, int argc, char **argv);

#endif
