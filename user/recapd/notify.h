/* SPDX-License-Identifier: MIT */
/* A service manager that waits until a service is ready: sd_notify(3), without its library. */
#ifndef RECAP_NOTIFY_H
#define RECAP_NOTIFY_H

#include "common/cleanup.h"

/* Tell whoever listens at $NOTIFY_SOCKET. 0 as well when nobody asked to be told. */
int notify_ready(void) must_check;

#endif
