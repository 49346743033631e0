/* SPDX-License-Identifier: MIT */
/* The socket: connections, the methods of io.recap, and who waits for what. */
#ifndef RECAP_API_H
#define RECAP_API_H

#include "recapd/manager.h"

int api_new(struct manager *m, struct api **ret, struct error *err) must_check;
void api_free(struct api *api);

/* Serve a new connection; takes over `fd`. */
void api_accept(struct api *api, int fd);

/* Hand to capsule_set_new(): `arg` is the struct api. */
void api_capsule_event(struct capsule *c, enum capsule_event event, void *arg);

/* Those who watch the list get the new one. */
void api_inventory_changed(struct api *api);

/* The service ends: image loads end now. */
void api_stop(struct api *api);

/* Does an image load still run, or a reply still wait to be sent? */
bool api_busy(const struct api *api);

#endif
