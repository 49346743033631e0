/* SPDX-License-Identifier: MIT */
/* Measured times, and what the benchmarks' JSON files say of them. */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <string.h>
#include <time.h>

#include "common/json.h"

struct samples {
	uint64_t *ns;
	size_t n, room;
};

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static inline void pause_ms(unsigned int ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000l};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static inline int samples_add(struct samples *s, uint64_t ns, struct error *err)
{
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 1024;
		uint64_t *p = realloc(s->ns, room * sizeof(*p));

		if (!p)
			return error_set(err, ENOMEM, "out of memory");
		s->ns = p;
		s->room = room;
	}
	s->ns[s->n++] = ns;
	return 0;
}

static inline int samples_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static inline void samples_sort(struct samples *s)
{
	if (s->n)
		qsort(s->ns, s->n, sizeof(*s->ns), samples_compare);
}

/* The smallest sample that `percent` of all do not exceed. Sorted samples, one at least. */
static inline uint64_t samples_percentile(const struct samples *s, unsigned int percent)
{
	return s->ns[(s->n * percent + 99) / 100 - 1];
}

static inline int64_t samples_us(uint64_t ns)
{
	return (ns + 500) / 1000;
}

/* {n, p50_us, p90_us, p99_us, max_us}. Sorts the samples; there must be one at least. */
static inline struct json_object *samples_json(struct samples *s)
{
	struct json_object *o = json_object_new_object();

	samples_sort(s);
	json_put_int(o, "n", s->n);
	json_put_int(o, "p50_us", samples_us(samples_percentile(s, 50)));
	json_put_int(o, "p90_us", samples_us(samples_percentile(s, 90)));
	json_put_int(o, "p99_us", samples_us(samples_percentile(s, 99)));
	json_put_int(o, "max_us", samples_us(s->ns[s->n - 1]));
	return o;
}

static inline int samples_write(const char *path, struct json_object *result, struct error *err)
{
	if (json_object_to_file_ext(path, result,
				    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED) < 0)
		return error_sys(err, errno, "cannot write %s", path);
	return 0;
}

#endif
