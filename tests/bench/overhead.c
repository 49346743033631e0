// SPDX-License-Identifier: MIT
/*
 * overhead PROGRAM BLOCK PINS RESULT: what the tracepoints cost a fork+exec+exit. The caller starts and stops recapd and
 * says so on standard input, a word a line; "done" comes back after each:
 *
 *   on, off   time a block of BLOCK runs of PROGRAM, with and without recapd. The n-th "on" and the n-th "off" make a pair.
 *   bpf       one more block, in which the kernel times the programs whose links are pinned in the folder PINS
 *
 * At the end of input the result is written: `ratio` is the median, over the pairs, of the quotient of the blocks' medians,
 * ratio_low and ratio_high bound it with 95 % confidence.
 */
#include <linux/bpf.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "process.h"

#define PAIRS_MAX 1000

struct side {
	struct samples all;
	uint64_t median[PAIRS_MAX];
	size_t n;
};

static const char *const links[] = {"fork", "exec", "exit"};

struct bench {
	struct process process;
	char *argv[2];
	unsigned int block;
	const char *pins;
	struct side on, off;
	double bpf_ns[ARRAY_SIZE(links)]; /* per event */
	uint64_t bpf_block_ns;		  /* fork+exec+exit meanwhile; 0: not asked for */
};

/* On one CPU, so that no sample holds a migration. recapd, which sleeps, may use the others. */
static int pin_to_last_cpu(struct error *err)
{
	cpu_set_t set;
	int last = -1;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return error_sys(err, errno, "sched_getaffinity");
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			last = i;
	CPU_ZERO(&set);
	CPU_SET(last, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return error_sys(err, errno, "cannot stay on CPU %d", last);
	return 0;
}

/* ---- blocks ------------------------------------------------------------------------------------ */

/* The block's median, and each sample into `all`. */
static int run_block(struct bench *b, struct samples *all, uint64_t *ret_median, struct error *err)
{
	struct samples s = {0};
	int r = 0;

	for (unsigned int i = 0; i < b->block && r == 0; i++) {
		uint64_t ns = 0;

		r = process_time(&b->process, process_fork, b->argv, &ns, err);
		if (r == 0)
			r = samples_add(&s, ns, err);
		if (r == 0)
			r = samples_add(all, ns, err);
	}
	if (r == 0) {
		samples_sort(&s);
		*ret_median = samples_percentile(&s, 50);
	}
	free(s.ns);
	return r;
}

static int run_side(struct bench *b, struct side *side, struct error *err)
{
	int r;

	if (side->n == PAIRS_MAX)
		return error_set(err, E2BIG, "more than %d blocks", PAIRS_MAX);
	r = run_block(b, &side->all, &side->median[side->n], err);
	if (r == 0)
		side->n++;
	return r;
}

/* ---- the kernel's own account ------------------------------------------------------------------ */

static long sys_bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static long info_of(int fd, void *info, size_t size)
{
	union bpf_attr attr = {
		.info = {.bpf_fd = fd, .info_len = size, .info = (uint64_t)(uintptr_t)info}};

	return sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

static int prog_info(const char *dir, const char *name, struct bpf_prog_info *ret,
		     struct error *err)
{
	struct bpf_link_info link = {0};
	union bpf_attr attr = {0};
	cleanup_fd int link_fd = -1, prog_fd = -1;
	char path[4096];

	snprintf(path, sizeof(path), "%s/link_%s", dir, name);
	attr.pathname = (uint64_t)(uintptr_t)path;
	link_fd = sys_bpf(BPF_OBJ_GET, &attr);
	if (link_fd < 0 || info_of(link_fd, &link, sizeof(link)) < 0)
		return error_sys(err, errno, "cannot open the link %s", path);
	memset(&attr, 0, sizeof(attr));
	attr.prog_id = link.prog_id;
	prog_fd = sys_bpf(BPF_PROG_GET_FD_BY_ID, &attr);
	memset(ret, 0, sizeof(*ret));
	if (prog_fd < 0 || info_of(prog_fd, ret, sizeof(*ret)) < 0)
		return error_sys(err, errno, "cannot open the program of %s", path);
	return 0;
}

static int prog_infos(const struct bench *b, struct bpf_prog_info ret[ARRAY_SIZE(links)],
		      struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++)
		r = prog_info(b->pins, links[i], &ret[i], err);
	return r;
}

static int run_bpf(struct bench *b, struct error *err)
{
	struct bpf_prog_info before[ARRAY_SIZE(links)], after[ARRAY_SIZE(links)];
	union bpf_attr attr = {.enable_stats = {.type = BPF_STATS_RUN_TIME}};
	/* The kernel counts while this is open, which a crash of ours ends as well. */
	cleanup_fd int stats = sys_bpf(BPF_ENABLE_STATS, &attr);
	struct samples ignored = {0};
	int r;

	if (stats < 0)
		return error_sys(err, errno, "cannot have the kernel time BPF programs");
	r = prog_infos(b, before, err);
	if (r == 0)
		r = run_block(b, &ignored, &b->bpf_block_ns, err);
	if (r == 0)
		r = prog_infos(b, after, err);
	free(ignored.ns);
	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++) {
		uint64_t runs = after[i].run_cnt - before[i].run_cnt;

		if (!runs)
			return error_set(err, EIO, "the program of link_%s did not run", links[i]);
		b->bpf_ns[i] = (double)(after[i].run_time_ns - before[i].run_time_ns) / runs;
	}
	return r;
}

/* ---- the result -------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void put_ratio(struct json_object *o, const char *key, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.4f", value);
	json_put_obj(o, key, json_object_new_double_s(value, text));
}

/*
 * The rank, from below, at which the confidence interval of the median of `n` values starts: n/2 - 1.96 sqrt(n)/2
 * (binomial, by its normal approximation), which asks nothing of how noise is distributed.
 */
static size_t lower_rank(size_t n)
{
	size_t rank = n / 2;

	while (rank > 0 && (n - 2 * rank) * (n - 2 * rank) < 3.84 * n)
		rank--;
	return rank;
}

static void put_ratios(struct json_object *o, const struct bench *b)
{
	size_t n = b->on.n, low = lower_rank(n);
	double q[PAIRS_MAX] = {0};

	for (size_t i = 0; i < n; i++)
		q[i] = (double)b->on.median[i] / b->off.median[i];
	qsort(q, n, sizeof(*q), compare_doubles);
	put_ratio(o, "ratio", (q[(n - 1) / 2] + q[n / 2]) / 2);
	put_ratio(o, "ratio_low", q[low]);
	put_ratio(o, "ratio_high", q[n - 1 - low]);
	json_put_int(o, "pairs", n);
}

static void put_sides(struct json_object *o, struct bench *b)
{
	json_put_obj(o, "on", samples_json(&b->on.all));
	json_put_obj(o, "off", samples_json(&b->off.all));
	put_ratio(o, "ratio_of_medians",
		  (double)samples_percentile(&b->on.all, 50) / samples_percentile(&b->off.all, 50));
}

/* The second method: what the programs ran, as the kernel timed them, beside what a fork+exec+exit takes. */
static void put_bpf(struct json_object *o, const struct bench *b)
{
	struct json_object *bpf = json_object_new_object(), *ns = json_object_new_object();
	double sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		sum += b->bpf_ns[i];
		json_put_int(ns, links[i], (int64_t)(b->bpf_ns[i] + 0.5));
	}
	json_put_obj(bpf, "bpf_ns_per_event", ns);
	put_ratio(bpf, "ratio", 1 + sum / samples_percentile(&b->off.all, 50));
	json_put_obj(o, "bpf_run_time", bpf);
}

static int write_result(struct bench *b, const char *path, struct error *err)
{
	cleanup_json struct json_object *o = json_object_new_object();

	if (!b->on.n || b->on.n != b->off.n)
		return error_set(err, EINVAL,
				 "%zu blocks with recapd and %zu without make no pairs", b->on.n,
				 b->off.n);
	put_ratios(o, b);
	put_sides(o, b);
	if (b->bpf_block_ns)
		put_bpf(o, b);
	return samples_write(path, o, err);
}

static int obey(struct bench *b, const char *word, struct error *err)
{
	if (!strcmp(word, "on\n"))
		return run_side(b, &b->on, err);
	if (!strcmp(word, "off\n"))
		return run_side(b, &b->off, err);
	if (!strcmp(word, "bpf\n"))
		return run_bpf(b, err);
	return error_set(err, EINVAL, "no such block: %s", word);
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct error err = {0};
	char word[16];
	int r;

	if (argc != 5 || atoi(argv[2]) <= 0) {
		fprintf(stderr, "usage: overhead PROGRAM BLOCK PINS RESULT\n");
		return 2;
	}
	b.argv[0] = argv[1];
	b.block = atoi(argv[2]);
	b.pins = argv[3];
	r = process_init(&b.process, &err);
	if (r == 0)
		r = pin_to_last_cpu(&err);
	while (r == 0 && fgets(word, sizeof(word), stdin)) {
		r = obey(&b, word, &err);
		if (r == 0 && (puts("done") < 0 || fflush(stdout)))
			r = error_sys(&err, errno, "cannot write to standard output");
	}
	if (r == 0)
		r = write_result(&b, argv[4], &err);
	if (r < 0)
		fprintf(stderr, "overhead: %s\n", err.msg);
	return r < 0;
}
