// SPDX-License-Identifier: MIT
#include "core/loop.h"

#include <stdbool.h>
#include <sys/epoll.h>

#include "common/fd.h"

#define BATCH 64

struct loop {
	int epoll;
	bool stop;
	struct epoll_event events[BATCH];
	int n, at;		     /* events fetched, and the one being served */
	void (*deferred)(void *arg); /* NULL: nothing */
	void *deferred_arg;
	unsigned int idle_us;
	uint64_t latest_ns;
};

int loop_new(struct loop **ret, struct error *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return error_set(err, ENOMEM, "out of memory");
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) {
		free(loop);
		return error_sys(err, errno, "epoll_create1");
	}
	*ret = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close(loop->epoll);
	free(loop);
}

int loop_add(struct loop *loop, struct loop_source *s, int fd, uint32_t events, loop_fn fn,
	     void *arg)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		return -errno;
	s->fd = fd;
	s->fn = fn;
	s->arg = arg;
	return 0;
}

int loop_change(struct loop *loop, struct loop_source *s, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, s->fd, &e) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, struct loop_source *s)
{
	if (s->fd < 0)
		return;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	for (int i = loop->at + 1; i < loop->n; i++)
		if (loop->events[i].data.ptr == s)
			loop->events[i].data.ptr = NULL;
	s->fd = -1;
}

void loop_settle(struct loop *loop)
{
	void (*fn)(void *arg) = loop->deferred;

	loop->deferred = NULL;
	if (fn)
		fn(loop->deferred_arg);
}

void loop_defer(struct loop *loop, unsigned int us, void (*fn)(void *arg), void *arg)
{
	if (loop->deferred == fn && loop->deferred_arg == arg)
		return;
	loop_settle(loop);
	loop->deferred = fn;
	loop->deferred_arg = arg;
	loop->idle_us = us;
	loop->latest_ns = clock_boot_ns() + us * 4000ull;
}

static bool is_due(const struct loop *loop)
{
	return loop->deferred && clock_boot_ns() >= loop->latest_ns;
}

/* Until something happens. 0: nothing did for as long as what was deferred is to wait. */
static int wait_for_events(struct loop *loop)
{
	const struct timespec t = {loop->idle_us / 1000000, loop->idle_us % 1000000 * 1000};

	return epoll_pwait2(loop->epoll, loop->events, BATCH, loop->deferred ? &t : NULL, NULL);
}

int loop_run(struct loop *loop, void (*after)(void *arg), void *arg)
{
	while (!loop->stop) {
		bool idle;

		loop->n = wait_for_events(loop);
		idle = loop->n == 0;
		if (loop->n < 0 && errno != EINTR)
			return -errno;
		for (loop->at = 0; loop->at < loop->n; loop->at++) {
			struct loop_source *s = loop->events[loop->at].data.ptr;

			if (s)
				s->fn(loop->events[loop->at].events, s->arg);
		}
		loop->n = 0;
		/* A service that is never idle does it all the same. */
		if (idle || is_due(loop))
			loop_settle(loop);
		after(arg);
	}
	loop_settle(loop);
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}
