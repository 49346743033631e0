// SPDX-License-Identifier: MIT
/*
 * load SOCKET TARGET PID RESULT: what recapd (whose PID that is) does under load, against what it does at rest in the same run.
 *
 *   idle      attaches of `true`, with a rest between
 *   among     the same while CROWD capsules run; alternating with idle, ROUNDS times
 *   crowd     CROWD attaches at once, of a tool that runs until its input ends; and the end of all at once
 *   burst     CROWD attaches of `true` at once
 *   sequence  SEQUENCE attaches, one right after the other; alternating with `rest`, which is idle again
 *
 * Any failure ends it. `phases` of each: where the time went, out of the records.
 */
#include <sched.h>

#include "client.h"

#define ROUNDS	 5
#define CROWD	 500
#define BLOCK	 300
#define SEQUENCE 10000
#define RUN	 500 /* of the sequence, between two blocks at rest */
#define REST_MS	 2

struct bench {
	struct client c;
	struct client_conn crowd[CROWD];
	const char *target;
	pid_t recapd;
	int input[2]; /* a pipe: what the crowd reads */
	struct samples idle, among, rest, sequence, burst, together;
	struct samples phases[CLIENT_PHASES]; /* of the sequence */
	uint64_t sequence_ns;
	struct samples start_all, end_all, burst_all; /* of CROWD each */
};

static struct client_tool tool_true(const struct bench *b)
{
	return (struct client_tool){.target = b->target, .image = "true:1", .input = -1};
}

static int block(struct bench *b, size_t n, unsigned int rest_ms, struct samples *s,
		 struct error *err)
{
	const struct client_tool tool = tool_true(b);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		r = client_time(&b->c, &tool, s, err);
		if (rest_ms)
			pause_ms(rest_ms);
	}
	return r;
}

static int start_crowd(struct bench *b, const struct client_tool *tool, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < CROWD && r == 0; i++) {
		r = client_start(&b->c, &b->crowd[i], tool, err);
		/* A reply that is there already, of one that failed. */
		if (r == 0)
			r = client_turn(&b->c, 0, err);
	}
	return r;
}

/* How many capsules recapd has running, by its own word. */
static int count_running(struct bench *b, int64_t *ret, struct error *err)
{
	cleanup_json struct json_object *params = NULL;
	struct varlink v;
	int r = varlink_connect(b->c.socket, &v, err);

	if (r == 0)
		r = varlink_call(&v, "io.recap.Status", NULL, false, NULL, 0, err);
	if (r == 0)
		r = varlink_reply(&v, &params, NULL, err);
	varlink_close(&v);
	*ret = r == 0 ? json_get_int(params, "capsules", -1) : -1;
	return r;
}

static int wait_for_crowd(struct bench *b, struct error *err)
{
	uint64_t end = now_ns() + CLIENT_PATIENCE_MS * 1000000ull;
	int64_t n = 0;

	while (n < CROWD) {
		int r = count_running(b, &n, err);

		if (r == 0 && now_ns() > end)
			r = error_set(err, ETIMEDOUT, "%lld of %d capsules run", (long long)n,
				      CROWD);
		if (r < 0)
			return r;
	}
	return 0;
}

static int end_crowd(struct bench *b, struct samples *each, struct samples *all, struct error *err)
{
	uint64_t start = now_ns();
	int r;

	fd_close(b->input[1]);
	r = client_wait(&b->c, 0, err);
	if (r == 0)
		r = samples_add(all, now_ns() - start, err);
	for (size_t i = 0; i < CROWD && r == 0; i++)
		r = samples_add(each, b->crowd[i].end_ns - start, err);
	return r;
}

static int round_among(struct bench *b, struct error *err)
{
	struct client_tool cat = {.target = b->target, .image = "toolbox:1", .arg = "cat"};
	uint64_t start;
	int r;

	if (pipe2(b->input, O_CLOEXEC) < 0)
		return error_sys(err, errno, "pipe2");
	cat.input = b->input[0];
	start = now_ns();
	r = start_crowd(b, &cat, err);
	fd_close(b->input[0]);
	if (r == 0)
		r = wait_for_crowd(b, err);
	if (r == 0)
		r = samples_add(&b->start_all, now_ns() - start, err);
	/* One after the other, after which the image is the usual one again. */
	if (r == 0)
		r = block(b, 3, REST_MS, &(struct samples){}, err);
	if (r == 0)
		r = block(b, BLOCK, REST_MS, &b->among, err);
	return r < 0 ? r : end_crowd(b, &b->together, &b->end_all, err);
}

static int round_burst(struct bench *b, struct error *err)
{
	const struct client_tool tool = tool_true(b);
	uint64_t start = now_ns();
	int r = start_crowd(b, &tool, err);

	if (r == 0)
		r = client_wait(&b->c, 0, err);
	if (r == 0)
		r = samples_add(&b->burst_all, now_ns() - start, err);
	for (size_t i = 0; i < CROWD && r == 0; i++)
		r = samples_add(&b->burst, b->crowd[i].end_ns - b->crowd[i].start_ns, err);
	return r;
}

/* ---- the result ---- */

static struct json_object *with_phases(struct samples *s, struct samples phases[CLIENT_PHASES])
{
	struct json_object *o = samples_json(s);

	json_put_obj(o, "phases", client_phases_json(phases));
	return o;
}

static void put_ratio(struct json_object *o, const char *key, double v)
{
	json_put_obj(o, key, json_object_new_double((double)(int64_t)(v * 1000 + 0.5) / 1000));
}

static double p99_ratio(const struct samples *a, const struct samples *b)
{
	return (double)samples_percentile(a, 99) / (double)samples_percentile(b, 99);
}

static double per_second(size_t n, uint64_t ns)
{
	return n * 1e9 / ns;
}

static int64_t proc_number(pid_t pid, const char *key)
{
	char path[32], line[128];
	size_t len = strlen(key);
	int64_t n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len))
			n = strtoll(line + len, NULL, 10);
	if (f)
		fclose(f);
	return n;
}

static int rounds(struct bench *b, struct json_object *o, struct error *err)
{
	int r = block(b, 50, REST_MS, &(struct samples){}, err); /* all that is slow once */

	client_forget(&b->c);
	for (int i = 0; i < ROUNDS && r == 0; i++) {
		r = block(b, BLOCK, REST_MS, &b->idle, err);
		if (r == 0)
			r = round_among(b, err);
	}
	if (r < 0)
		return r;
	json_put_obj(o, "idle", samples_json(&b->idle));
	json_put_obj(o, "among", samples_json(&b->among));
	json_put_obj(o, "crowd_start_all", samples_json(&b->start_all));
	json_put_obj(o, "crowd_end_all", samples_json(&b->end_all));
	json_put_obj(o, "crowd_end", samples_json(&b->together));
	client_forget(&b->c);
	for (int i = 0; i < ROUNDS && r == 0; i++)
		r = round_burst(b, err);
	if (r < 0)
		return r;
	json_put_obj(o, "burst", with_phases(&b->burst, b->c.phases));
	json_put_obj(o, "burst_all", samples_json(&b->burst_all));
	return 0;
}

static int round_sequence(struct bench *b, struct error *err)
{
	uint64_t start;
	int r = block(b, RUN / 4, REST_MS, &b->rest, err);

	client_forget(&b->c);
	start = now_ns();
	if (r == 0)
		r = block(b, RUN, 0, &b->sequence, err);
	b->sequence_ns += now_ns() - start;
	return r < 0 ? r : client_move_phases(&b->c, b->phases, err);
}

static int sequence(struct bench *b, struct json_object *o, struct error *err)
{
	int r = 0;

	for (int i = 0; i < SEQUENCE / RUN && r == 0; i++)
		r = round_sequence(b, err);
	if (r < 0)
		return r;
	json_put_obj(o, "rest", samples_json(&b->rest));
	json_put_obj(o, "sequence", with_phases(&b->sequence, b->phases));
	return 0;
}

static int run(struct bench *b, struct json_object *o, struct error *err)
{
	int64_t rss = proc_number(b->recapd, "VmRSS:");
	int r = rounds(b, o, err);

	if (r == 0)
		r = sequence(b, o, err);
	if (r < 0)
		return r;
	put_ratio(o, "sequence_per_s", per_second(SEQUENCE, b->sequence_ns));
	put_ratio(o, "burst_per_s", per_second(CROWD, samples_percentile(&b->burst_all, 50)));
	put_ratio(o, "crowd_start_per_s", per_second(CROWD, samples_percentile(&b->start_all, 50)));
	put_ratio(o, "crowd_end_per_s", per_second(CROWD, samples_percentile(&b->end_all, 50)));
	put_ratio(o, "among_p99_ratio", p99_ratio(&b->among, &b->idle));
	put_ratio(o, "sequence_p99_ratio", p99_ratio(&b->sequence, &b->rest));
	json_put_int(o, "rss_kib_before", rss);
	json_put_int(o, "rss_kib_after", proc_number(b->recapd, "VmRSS:"));
	return 0;
}

int main(int argc, char **argv)
{
	cleanup_json struct json_object *o = json_object_new_object();
	static struct bench b;
	struct error err = {0};
	int r;

	if (argc != 5) {
		fprintf(stderr, "usage: load SOCKET TARGET PID RESULT\n");
		return 2;
	}
	b.target = argv[2];
	b.recapd = (pid_t)strtol(argv[3], NULL, 10);
	r = client_open(&b.c, argv[1], &err);
	if (r == 0)
		r = run(&b, o, &err);
	if (r == 0)
		r = samples_write(argv[4], o, &err);
	if (r < 0)
		fprintf(stderr, "load: %s\n", err.msg);
	return r < 0;
}
