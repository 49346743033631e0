// SPDX-License-Identifier: MIT
/*
 * hostile SOCKET TARGET RESULT: attaches in quiet blocks and in hostile ones, alternating. In the latter STALLED clients have
 * connected and stall, half of them in the middle of a message, and a process sends malformed messages, MALFORMED in all, spread
 * over the blocks as fast as recapd takes them.
 */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "client.h"

#define ROUNDS	  20
#define BLOCK	  200
#define STALLED	  200
#define MALFORMED 10000
#define REST_MS	  2

struct bench {
	struct client c;
	const char *target;
	int stalled[STALLED];
	volatile uint64_t *sent; /* malformed messages, shared with who sends them */
	struct samples quiet, hostile;
	struct samples phases[2][CLIENT_PHASES]; /* quiet, hostile: out of the records */
	uint64_t hostile_ns;
};

static int connect_to(const char *socket, int *ret, struct error *err)
{
	struct varlink v;
	int r = varlink_connect(socket, &v, err);

	if (r == 0)
		*ret = TAKE_FD(v.fd);
	varlink_close(&v);
	return r;
}

/* ---- clients that stall ---- */

static int stall_begin(struct bench *b, struct error *err)
{
	static char half[256 << 10];
	int r = 0;

	memset(half, 'x', sizeof(half));
	memcpy(half, "{\"method\":\"", 11);
	for (size_t i = 0; i < STALLED && r == 0; i++) {
		/* In the middle of a name, or of a quarter of a MiB; the others have said nothing. */
		size_t len = i % 4 == 0 ? 12 : i % 4 == 1 ? sizeof(half) : 0;

		r = connect_to(b->c.socket, &b->stalled[i], err);
		if (r == 0 && len && fd_write_all(b->stalled[i], half, len) < 0)
			r = error_sys(err, errno, "recapd did not take half a message");
	}
	return r;
}

static void stall_end(struct bench *b)
{
	for (size_t i = 0; i < STALLED; i++)
		b->stalled[i] = fd_close(b->stalled[i]);
}

/* ---- malformed messages ---- */

struct kind {
	const char *
		head; /* then `fill` as often as it takes to have `size` bytes, then `tail` and a NUL */
	const char *fill, *tail;
	size_t size;
};

static const struct kind kinds[] = {
	{"", "", "", 0},
	{"nonsense", "", "", 0},
	{"{\"method\":", "", "", 0},
	{"[1,2,3]", "", "", 0},
	{"{\"method\":7}", "", "", 0},
	{"{\"method\":\"io.recap.NoSuchMethod\"}", "", "", 0},
	{"{\"method\":\"io.recap.Attach\",\"parameters\":{\"target\":7}}", "", "", 0},
	{"{\"method\":\"io.recap.Attach\",\"parameters\":{\"target\":\"x\",\"image\":\"y\"}}", "",
	 "", 0},
	{"{\"method\":\"io.recap.Inspect\",\"parameters\":{\"id\":\"a\\u0000b\"}}", "", "", 0},
	{"{\"method\":\"io.recap.Stats\",\"oneway\":true}", "", "", 0},
	{"", "[", "", 1000}, /* too deep */
	{"{\"method\":\"io.recap.Stats\",\"parameters\":{\"a\":[", "{},", "1]}}",
	 60000},				/* many values */
	{"{\"method\":\"", "x", "\"}", 100000}, /* a long name */
	{"", "\xff\xfe", "", 500},
};

#define KINDS ARRAY_SIZE(kinds)

struct message {
	char *text;
	size_t len;
};

static struct message make_message(const struct kind *k)
{
	char *text = malloc(k->size + 256);
	size_t len;

	if (!text)
		abort();
	len = sprintf(text, "%s", k->head);
	while (len < k->size)
		len += sprintf(text + len, "%s", k->fill);
	len += sprintf(text + len, "%s", k->tail);
	return (struct message){text, len + 1};
}

/* Until it is ended: one connection for each message, and the answer awaited, or the hanging up. */
static __attribute__((noreturn)) void flood(struct bench *b)
{
	static char answer[64 << 10];
	struct message messages[KINDS];
	struct error err;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (size_t i = 0; i < KINDS; i++)
		messages[i] = make_message(&kinds[i]);
	for (size_t i = 0;; i++) {
		const struct message *m = &messages[i % KINDS];
		int fd = -1;

		if (connect_to(b->c.socket, &fd, &err) < 0)
			_exit(1);
		if (fd_send(fd, m->text, m->len, NULL, 0, 0) > 0)
			(void)!read(fd, answer, sizeof(answer));
		close(fd);
		(*b->sent)++;
	}
}

static int flood_begin(struct bench *b, pid_t *ret, struct error *err)
{
	*ret = fork();
	if (*ret == 0)
		flood(b);
	return *ret < 0 ? error_sys(err, errno, "fork") : 0;
}

/* It must have been at it to the end. */
static int flood_end(pid_t pid, struct error *err)
{
	int status = 0;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) < 0 || !WIFSIGNALED(status))
		return error_set(err, EIO, "recapd let nobody in any more");
	return 0;
}

/* ---- blocks ---- */

static int block(struct bench *b, size_t n, struct samples *s, struct error *err)
{
	const struct client_tool tool = {.target = b->target, .image = "true:1", .input = -1};
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		r = client_time(&b->c, &tool, s, err);
		pause_ms(REST_MS);
	}
	return r;
}

/* At least as long as it takes to send this round's share. */
static int block_hostile(struct bench *b, unsigned int round, struct error *err)
{
	uint64_t start = now_ns(), share = (uint64_t)MALFORMED * (round + 1) / ROUNDS;
	pid_t pid = 0;
	int r = stall_begin(b, err);

	if (r == 0)
		r = flood_begin(b, &pid, err);
	if (r < 0)
		return r;
	r = block(b, BLOCK, &b->hostile, err);
	while (r == 0 && *b->sent < share)
		r = block(b, 1, &b->hostile, err);
	if (flood_end(pid, err) < 0)
		r = -EIO;
	stall_end(b);
	b->hostile_ns += now_ns() - start;
	return r;
}

static int run(struct bench *b, struct error *err)
{
	int r = block(b, 50, &(struct samples){}, err);

	client_forget(&b->c);
	for (unsigned int i = 0; i < ROUNDS && r == 0; i++) {
		r = block(b, BLOCK, &b->quiet, err);
		if (r == 0)
			r = client_move_phases(&b->c, b->phases[0], err);
		if (r == 0)
			r = block_hostile(b, i, err);
		if (r == 0)
			r = client_move_phases(&b->c, b->phases[1], err);
		pause_ms(50);
	}
	return r;
}

static struct json_object *with_phases(struct samples *all, struct samples phases[CLIENT_PHASES])
{
	struct json_object *o = samples_json(all);

	json_put_obj(o, "phases", client_phases_json(phases));
	return o;
}

static int write_result(struct bench *b, const char *path, struct error *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	double ratio;

	json_put_obj(o, "quiet", with_phases(&b->quiet, b->phases[0]));
	json_put_obj(o, "hostile", with_phases(&b->hostile, b->phases[1]));
	ratio = (double)samples_percentile(&b->hostile, 99) / samples_percentile(&b->quiet, 99);
	json_put_obj(o, "p99_ratio",
		     json_object_new_double((double)(int64_t)(ratio * 1000 + 0.5) / 1000));
	json_put_int(o, "stalled", STALLED);
	json_put_int(o, "malformed", *b->sent);
	json_put_int(o, "malformed_per_s", *b->sent * 1000000000 / b->hostile_ns);
	return samples_write(path, o, err);
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct error err = {0};
	int r;

	if (argc != 4) {
		fprintf(stderr, "usage: hostile SOCKET TARGET RESULT\n");
		return 2;
	}
	b.target = argv[2];
	b.sent = mmap(NULL, sizeof(*b.sent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	for (size_t i = 0; i < STALLED; i++)
		b.stalled[i] = -1;
	r = b.sent == MAP_FAILED ? error_sys(&err, errno, "mmap")
				 : client_open(&b.c, argv[1], &err);
	if (r == 0)
		r = run(&b, &err);
	if (r == 0)
		r = write_result(&b, argv[3], &err);
	if (r < 0)
		fprintf(stderr, "hostile: %s\n", err.msg);
	return r < 0;
}
