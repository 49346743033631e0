// SPDX-License-Identifier: MIT
/* recapctl attach: what it asks for, which streams it passes, and what its exit status says. */
#include "mock_recapd.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define FIRST \
	"{\"parameters\":{\"capsule\":{\"id\":\"c0ffee\",\"state\":\"running\"}},\"continues\":true}"
#define LAST(members) \
	"{\"parameters\":{\"capsule\":{\"id\":\"c0ffee\",\"state\":\"dropped\"," members "}}}"
#define QUARANTINED(holders)                                                         \
	"{\"parameters\":{\"capsule\":{\"id\":\"c0ffee\",\"state\":\"quarantined\"," \
	"\"exit_code\":0,\"holders\":[" holders "]}}}"

/* ---- handlers: what recapd would do ---------------------------------------------------------- */

/* Two replies, the last of which is the test's. */
static void runs_and_ends(struct mock_call *call)
{
	mock_reply(call, FIRST);
	mock_reply(call, call->arg);
}

static void replies_at_once(struct mock_call *call)
{
	mock_reply(call, call->arg);
}

/* The tool is `cat`, and says something on standard error. */
static void runs_cat(struct mock_call *call)
{
	char buf[256];
	ssize_t n;

	mock_reply(call, FIRST);
	while ((n = read(call->fds[0], buf, sizeof(buf))) > 0)
		if (fd_write_all(call->fds[1], buf, n) < 0)
			_exit(1);
	dprintf(call->fds[2], "done\n");
	mock_reply(call, LAST("\"exit_code\":0"));
}

/* Ends with what Signal() or Stop() brings: `arg` tells how many of them to wait for. */
static void runs_until_signalled(struct mock_call *call)
{
	char text[128];
	int value = 0;

	if (strcmp(call->method, "Attach")) {
		mock_reply(call, "{\"parameters\":{}}");
		return;
	}
	mock_reply(call, FIRST);
	dprintf(call->fds[1], "up\n");
	for (int n = *(const int *)call->arg; n; n--) {
		value = mock_side(call);
		dprintf(call->fds[1], "got %d\n", value);
	}
	snprintf(text, sizeof(text), LAST("\"signal\":%d"), value % 128);
	mock_reply(call, text);
}

/* Replies only once "go" has been written behind "up". */
static void waits_then_runs(struct mock_call *call)
{
	char text[128], buf[16] = "";
	int value;

	if (strcmp(call->method, "Attach")) {
		mock_reply(call, "{\"parameters\":{}}");
		return;
	}
	dprintf(call->fds[1], "up\n");
	for (int i = 0; i < 1000 && !strstr(buf, "go"); i++) {
		usleep(10000);
		(void)!pread(call->fds[1], buf, sizeof(buf) - 1, 0);
	}
	mock_reply(call, FIRST);
	value = mock_side(call);
	snprintf(text, sizeof(text), LAST("\"signal\":%d"), value % 128);
	mock_reply(call, text);
}

/* Never replies: the connection's end is all that comes. */
static void says_nothing(struct mock_call *call)
{
	dprintf(call->fds[1], "up\n");
}

static void dies_before(struct mock_call *call)
{
	_exit(0);
}

static void dies_between(struct mock_call *call)
{
	mock_reply(call, FIRST);
	_exit(0);
}

static void sends_garbage(struct mock_call *call)
{
	mock_reply(call, "garbage");
}

/* ---- exit status ----------------------------------------------------------------------------- */

static void expect(const char *last, int status, const char *err_part)
{
	struct mock_run run;

	mock_run(&run, runs_and_ends, last, ARGV("attach", "web", "tcpdump"));
	assert_int_equal(run.status, status);
	assert_string_equal(run.out, "");
	if (err_part)
		assert_non_null(strstr(run.err, err_part));
	else
		assert_string_equal(run.err, "");
}

static void exit_status_is_the_tools(void **state)
{
	expect(LAST("\"exit_code\":0"), 0, NULL);
	expect(LAST("\"exit_code\":7,\"signal\":null,\"reason\":null"), 7, NULL);
	expect(LAST("\"exit_code\":125"), 125, NULL);
	expect(LAST("\"exit_code\":null,\"signal\":9"), 137, NULL);
	expect(LAST("\"signal\":15"), 143, NULL);
}

static void exit_status_says_who_ended_it(void **state)
{
	expect(LAST("\"signal\":9,\"reason\":\"timeout\""), 124, "time limit");
	expect(LAST("\"signal\":15,\"reason\":\"stopped\""), 143, "was stopped");
	expect(LAST("\"signal\":9,\"reason\":\"target-gone\""), 137, "target ended");
	expect(LAST("\"signal\":15,\"reason\":\"shutdown\""), 143, "recapd was told to end");
	expect(LAST("\"tasks\":{}"), 125, "does not say how the tool ended");
}

static void quarantine_names_the_holders(void **state)
{
	expect(QUARANTINED("{\"pid\":123,\"command\":\"nginx\",\"kind\":\"fd\",\"fd\":7},"
			   "{\"pid\":9,\"command\":\"a\\u001b[2Jb\",\"kind\":\"mapping\"}"),
	       123,
	       "recapctl: layer quarantined: PID 123 (nginx) holds descriptor 7\n"
	       "recapctl: layer quarantined: PID 9 (a?[2Jb) holds it as its mapping\n");
	expect(QUARANTINED("{\"pid\":null,\"kind\":\"unnamed\"}"), 123, "no process to name");
	expect(QUARANTINED(""), 123, "recapctl inspect c0ffee");
}

static void expect_error(const char *name, int status)
{
	struct mock_run run;
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"error\":\"io.recap.%s\",\"parameters\":{\"message\":\"it is\\nso\"}}", name);
	mock_run(&run, replies_at_once, text, ARGV("attach", "web", "tcpdump"));
	assert_int_equal(run.status, status);
	assert_string_equal(run.err, "recapctl: it is?so\n");
}

static void refusals_have_their_status(void **state)
{
	struct mock_run run;

	expect_error("TargetNotFound", 125);
	expect_error("Failed", 125);
	expect_error("CommandNotExecutable", 126);
	expect_error("CommandNotFound", 127);
	mock_run(
		&run, replies_at_once,
		"{\"error\":\"io.recap.CommandNotFound\",\"parameters\":{\"message\":\"--cpus is not in it\"}}",
		ARGV("attach", "web", "tcpdump", "--cpus", "1"));
	assert_int_equal(run.status, 127);
	assert_string_equal(
		run.err,
		"recapctl: --cpus is not in it: options of attach go before the CAPSULE\n");
}

static void expect_lost(mock_handler handler, const char *err_part)
{
	struct mock_run run;

	mock_run(&run, handler, NULL, ARGV("attach", "web", "tcpdump"));
	assert_int_equal(run.status, 125);
	assert_non_null(strstr(run.err, err_part));
}

static void lost_or_mad_service_is_125(void **state)
{
	expect_lost(dies_before, "before the tool ran");
	expect_lost(dies_between, "while capsule c0ffee ran");
	expect_lost(sends_garbage, "not valid JSON");
}

/* ---- the call -------------------------------------------------------------------------------- */

static void expect_call(char *const *argv, const char *call)
{
	struct mock_run run;
	char line[1024];

	mock_run(&run, runs_and_ends, LAST("\"exit_code\":0"), argv);
	assert_string_equal(run.err, "");
	assert_int_equal(run.status, 0);
	snprintf(
		line, sizeof(line),
		"3 {\"method\":\"io.recap.Attach\",\"parameters\":%.*s,\"token\":\"\"},\"more\":true}\n",
		(int)strlen(call) - 1, call);
	assert_string_equal(run.calls, line);
}

static void options_become_parameters(void **state)
{
	expect_call(ARGV("attach", "web", "tcpdump"), "{\"target\":\"web\",\"image\":\"tcpdump\"}");
	expect_call(ARGV("attach", "--timeout", "5", "web", "--cow=disk", "tcpdump", "--", "-i",
			 "--", "-t"),
		    "{\"timeout_s\":5,\"target\":\"web\",\"cow\":\"disk\",\"image\":\"tcpdump\","
		    "\"args\":[\"-i\",\"--\",\"-t\"]}");
	expect_call(ARGV("attach", "web", "tcpdump", "-i", "eth0"),
		    "{\"target\":\"web\",\"image\":\"tcpdump\",\"args\":[\"-i\",\"eth0\"]}");
	expect_call(ARGV("attach", "-eA=b=c", "-e", "MOCK_SET", "-e", "MOCK_UNSET", "-u", "1:2",
			 "-w", "/x", "--entrypoint", "sh", "web", "i"),
		    "{\"env\":[\"A=b=c\",\"MOCK_SET=1\"],\"user\":\"1:2\",\"workdir\":\"/x\","
		    "\"entrypoint\":\"sh\",\"target\":\"web\",\"image\":\"i\"}");
	expect_call(ARGV("attach", "--namespaces", "pid,net", "--target-root", "rw", "--cap-add",
			 "NET_RAW,SYS_PTRACE", "--cap-add", "KILL", "--cap-drop", "ALL",
			 "--seccomp", "unconfined", "web", "i"),
		    "{\"namespaces\":[\"pid\",\"net\"],\"target_root\":\"rw\","
		    "\"cap_add\":[\"NET_RAW\",\"SYS_PTRACE\",\"KILL\"],\"cap_drop\":[\"ALL\"],"
		    "\"seccomp\":\"unconfined\",\"target\":\"web\",\"image\":\"i\"}");
	expect_call(ARGV("attach", "--seccomp", "net", "web", "i"),
		    "{\"seccomp\":\"net\",\"target\":\"web\",\"image\":\"i\"}");
	/* The last one counts. */
	expect_call(ARGV("attach", "--seccomp", "net", "--seccomp", "tests/fuzz/profiles/smallest",
			 "web", "i"),
		    "{\"seccomp_profile\":\"{\\\"defaultAction\\\":\\\"SCMP_ACT_ALLOW\\\"}\\n\","
		    "\"target\":\"web\",\"image\":\"i\"}");
	expect_call(ARGV("attach", "--memory", "64m", "--cpus", "0.5", "--pids", "9", "--nofile",
			 "99", "--cow-size", "1G", "web", "i"),
		    "{\"memory\":67108864,\"cpus_milli\":500,\"pids\":9,\"nofile\":99,"
		    "\"cow_size\":1073741824,"
		    "\"target\":\"web\",\"image\":\"i\"}");
}

static void expect_usage(char *const *argv, const char *err_part)
{
	struct mock_run run;

	mock_run(&run, runs_and_ends, LAST("\"exit_code\":0"), argv);
	assert_int_equal(run.status, 125);
	assert_string_equal(run.calls, "");
	assert_non_null(strstr(run.err, err_part));
	assert_ptr_equal(strchr(run.err, '\n'), run.err + strlen(run.err) - 1);
}

static void wrong_usage_asks_for_nothing(void **state)
{
	expect_usage(ARGV("attach"), "no TARGET");
	expect_usage(ARGV("attach", "web"), "no CAPSULE");
	expect_usage(ARGV("attach", "--no-such", "web", "i"), "no option '--no-such'");
	expect_usage(ARGV("attach", "web", "-x", "i"), "no option '-x'");
	expect_usage(ARGV("attach", "--cap", "X", "web", "i"), "'--cap' is short for several");
	expect_usage(ARGV("attach", "--terminal=yes", "web", "i"), "takes no value");
	expect_usage(ARGV("attach", "web", "--user"), "'--user' needs a value");
	expect_usage(ARGV("attach", "-td", "web", "i"), "-d leaves the capsule");
	expect_usage(ARGV("attach", "-d", "--report", "/tmp/x", "web", "i"), "--report");
	expect_usage(ARGV("attach", "-t", "web", "i"), "needs a terminal");
	expect_usage(ARGV("attach", "--seccomp", "lax", "web", "i"), "default, ptrace, net");
	expect_usage(ARGV("attach", "--seccomp", "/nowhere/p.json", "web", "i"),
		     "cannot read /nowhere/p.json");
	expect_usage(ARGV("attach", "--nofile", "15", "web", "i"), "--nofile");
	expect_usage(ARGV("attach", "--cow", "tmp", "web", "i"), "tmpfs|disk");
	expect_usage(ARGV("attach", "--memory", "64q", "web", "i"), "--memory");
	expect_usage(ARGV("attach", "--memory", "-1", "web", "i"), "--memory");
	expect_usage(ARGV("attach", "--memory", "99999999999999g", "web", "i"), "--memory");
	expect_usage(ARGV("attach", "--memory", "1023k", "web", "i"), "1m at least, not '1023k'");
	expect_usage(ARGV("attach", "--cow-size", "65g", "web", "i"),
		     "64k at least and at most 64g");
	expect_usage(ARGV("attach", "--cow-size", "65535", "web", "i"), "64k at least");
	expect_usage(ARGV("attach", "--pids", "1", "web", "i"), "from 2");
	expect_usage(ARGV("attach", "--cpus", "0.009", "web", "i"), "from 0.01 to 1000");
	expect_usage(ARGV("attach", "--cpus", "1000.001", "web", "i"), "from 0.01 to 1000");
	expect_usage(ARGV("attach", "--timeout", "0", "web", "i"), "--timeout");
	expect_usage(ARGV("attach", "--timeout", "5s", "web", "i"), "--timeout");
	expect_usage(ARGV("attach", "--cpus", "0", "web", "i"), "--cpus");
	expect_usage(ARGV("attach", "--cpus", "1.5.1", "web", "i"), "--cpus");
	expect_usage(ARGV("attach", "--cap-add", "A,,B", "web", "i"), "empty item");
	expect_usage(ARGV("attach", "-e", "=x", "web", "i"), "KEY=VALUE");
	expect_usage(ARGV("attach", "--report", "/nonexistent/x", "web", "i"), "/nonexistent/x");
}

/* ---- streams --------------------------------------------------------------------------------- */

static void streams_are_recapctls_own(void **state)
{
	struct mock_run run;
	int in[2];

	/* Closed before anybody forks, or cat would wait for its own copy of the writing end. */
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(write(in[1], "hello\n", 6), 6);
	close(in[1]);
	mock_start(&run, runs_cat, NULL);
	mock_ctl(&run, in[0], run.out_fd, ARGV("attach", "web", "cat"));
	close(in[0]);
	mock_finish(&run);
	assert_int_equal(run.status, 0);
	assert_string_equal(run.out, "hello\n");
	assert_string_equal(run.err, "done\n");
}

/* Standard input and output are not there: neither may the socket take their numbers. */
static void closed_streams_become_null(void **state)
{
	struct mock_run run;
	char *argv[] = {"recapctl", "--socket", run.socket, "attach", "web", "cat", NULL};

	mock_start(&run, runs_cat, NULL);
	run.pid = fork();
	if (run.pid == 0) {
		dup2(run.err_fd, 2);
		close(0);
		close(1);
		exit(ctl_main(6, argv));
	}
	mock_finish(&run);
	assert_int_equal(run.status, 0);
	assert_string_equal(run.err, "done\n");
	assert_int_equal(*run.calls, '3');
}

static void detached_passes_none_and_prints_the_id(void **state)
{
	struct mock_run run;

	mock_run(&run, replies_at_once, "{\"parameters\":{\"capsule\":{\"id\":\"c0ffee\"}}}",
		 ARGV("attach", "-d", "web", "i"));
	assert_int_equal(run.status, 0);
	assert_string_equal(run.out, "c0ffee\n");
	assert_string_equal(run.calls,
			    "0 {\"method\":\"io.recap.Attach\",\"parameters\":{\"target\":\"web\","
			    "\"image\":\"i\",\"detach\":true,\"token\":\"\"},\"more\":true}\n");
}

static void report_is_the_last_record(void **state)
{
	char path[] = "/tmp/recapctl-report.XXXXXX", text[512];
	cleanup_fd int fd = mkstemp(path);
	struct mock_run run;

	assert_true(fd >= 0);
	mock_run(&run, runs_and_ends, LAST("\"exit_code\":3"),
		 ARGV("attach", "--report", path, "web", "i"));
	assert_int_equal(run.status, 3);
	assert_int_equal(fd_read_small(AT_FDCWD, path, text, sizeof(text)), 0);
	assert_string_equal(text, "{\n  \"id\": \"c0ffee\",\n  \"state\": \"dropped\",\n"
				  "  \"exit_code\": 3\n}\n");
	unlink(path);
}

static void report_follows_no_link(void **state)
{
	char dir[] = "/tmp/recapctl-report.XXXXXX", path[64];
	struct mock_run run;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink("/tmp/recapctl-victim", path), 0);
	mock_run(&run, runs_and_ends, LAST("\"exit_code\":0"),
		 ARGV("attach", "--report", path, "web", "i"));
	assert_int_equal(run.status, 125);
	assert_string_equal(run.calls, "");
	assert_int_equal(access("/tmp/recapctl-victim", F_OK), -1);
	unlink(path);
	rmdir(dir);
}

/* ---- files as streams ------------------------------------------------------------------------ */

#define BIG 1000003 /* many pipes full, and no multiple of anything */

/* The tool is `cat`, and sees nothing but pipes: 42 otherwise. */
static void cats_between_pipes(struct mock_call *call)
{
	char buf[10000];
	struct stat st;
	ssize_t n;

	mock_reply(call, FIRST);
	for (int i = 0; i < 3; i++)
		if (fstat(call->fds[i], &st) < 0 || !S_ISFIFO(st.st_mode) ||
		    fcntl(call->fds[i], F_GETFL) & O_NONBLOCK)
			mock_reply(call, LAST("\"exit_code\":42"));
	while ((n = read(call->fds[0], buf, sizeof(buf))) > 0)
		if (fd_write_all(call->fds[1], buf, n) < 0)
			_exit(1);
	mock_reply(call, LAST("\"exit_code\":0"));
}

/* Does what it may to each of its streams, and then says so. */
static void vandalises(struct mock_call *call)
{
	mock_reply(call, FIRST);
	for (int i = 0; i < 3; i++) {
		(void)!fchmod(call->fds[i], 0777);
		(void)!ftruncate(call->fds[i], 0);
		(void)!lseek(call->fds[i], 0, SEEK_SET);
		fcntl(call->fds[i], F_SETFL, 0);
	}
	dprintf(call->fds[1], "after\n");
	mock_reply(call, LAST("\"exit_code\":0"));
}

#define SOME \
	5000 /* frees a page of a full pipe, for recapctl to put a part of what it has read there */

static void reads_some(struct mock_call *call)
{
	char buf[SOME];

	mock_reply(call, FIRST);
	for (int i = 0; i < SOME; i++)
		if (read(call->fds[0], buf + i, 1) != 1)
			_exit(1);
	usleep(100000); /* in which recapctl fills the pipe */
	call->fds[0] = fd_close(call->fds[0]);
	mock_reply(call, LAST("\"exit_code\":0"));
}

/* Feigns that more is unread than it was given. */
static void stuffs_its_input(struct mock_call *call)
{
	char path[64], junk[1000] = "";
	cleanup_fd int fd = -1;

	mock_reply(call, FIRST);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", call->fds[0]);
	usleep(100000);
	if (fchmod(call->fds[0], 0666) == 0)
		fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || fd_write_all(fd, junk, sizeof(junk)) < 0)
		_exit(1);
	mock_reply(call, LAST("\"exit_code\":0"));
}

static void alternates(struct mock_call *call)
{
	mock_reply(call, FIRST);
	for (int i = 0; i < 500; i++)
		dprintf(call->fds[1 + i % 2], "%d\n", i);
	mock_reply(call, LAST("\"exit_code\":0"));
}

/* Something holds the tool's output, and writes to it, after the capsule's end. */
static void is_survived(struct mock_call *call)
{
	mock_reply(call, FIRST);
	dprintf(call->fds[1], "all\n");
	mock_reply(call, QUARANTINED("{\"pid\":1,\"command\":\"x\",\"kind\":\"fd\",\"fd\":1}"));
	while (write(call->fds[1], "more\n", 5) == 5)
		;
}

static void writes_much(struct mock_call *call)
{
	static const char zeros[200000];

	mock_reply(call, FIRST);
	signal(SIGPIPE, SIG_IGN);
	(void)!fd_write_all(call->fds[1], zeros, sizeof(zeros));
	mock_reply(call, call->arg);
}

/* A file of `size` bytes of every value, at its start. */
static int make_file(size_t size)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	unsigned int x = 1;

	assert_true(fd >= 0);
	for (size_t n; size; size -= n) {
		unsigned char buf[4096];

		n = size < sizeof(buf) ? size : sizeof(buf);
		for (size_t i = 0; i < n; i++)
			buf[i] = (x = x * 1103515245 + 12345) >> 16;
		assert_int_equal(fd_write_all(fd, buf, n), 0);
	}
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	return fd;
}

static char *map_file(int fd, size_t size)
{
	struct stat st;
	char *map;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, size);
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	return map;
}

static void assert_same_content(int a, int b, size_t size)
{
	char *x = map_file(a, size), *y = map_file(b, size);

	assert_true(memcmp(x, y, size) == 0);
	munmap(x, size);
	munmap(y, size);
}

static void files_are_copied_whole(void **state)
{
	static const size_t sizes[] = {1, 65536, BIG};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_fd int in = make_file(sizes[i]), out = make_file(0);
		struct mock_run run;

		mock_start(&run, cats_between_pipes, NULL);
		mock_ctl(&run, in, out, ARGV("attach", "web", "cat"));
		mock_finish(&run);
		assert_string_equal(run.err, "");
		assert_int_equal(run.status, 0);
		assert_same_content(in, out, sizes[i]);
		assert_int_equal(lseek(in, 0, SEEK_CUR), sizes[i]);
	}
}

static void files_are_out_of_reach(void **state)
{
	cleanup_fd int in = make_file(10), log = make_file(0);
	struct mock_run run;
	struct stat st;
	char text[32] = "";

	assert_int_equal(write(log, "before\n", 7), 7);
	assert_int_equal(fcntl(log, F_SETFL, O_APPEND), 0);
	mock_start(&run, vandalises, NULL);
	mock_ctl(&run, in, log, ARGV("attach", "web", "i"));
	mock_finish(&run);
	assert_int_equal(run.status, 0);
	assert_int_equal(pread(log, text, sizeof(text) - 1, 0), 13);
	assert_string_equal(text, "before\nafter\n");
	assert_true(fcntl(log, F_GETFL) & O_APPEND);
	assert_true(fstat(log, &st) == 0 && (st.st_mode & 07777) == 0640);
	assert_true(fstat(in, &st) == 0 && (st.st_mode & 07777) == 0640 && st.st_size == 10);
}

static void expect_offset(mock_handler handler, size_t size, off_t before, off_t after)
{
	cleanup_fd int in = make_file(size);
	struct mock_run run;

	assert_int_equal(lseek(in, before, SEEK_SET), before);
	mock_start(&run, handler, NULL);
	mock_ctl(&run, in, run.out_fd, ARGV("attach", "web", "head"));
	mock_finish(&run);
	assert_string_equal(run.err, "");
	assert_int_equal(run.status, 0);
	assert_int_equal(lseek(in, 0, SEEK_CUR), after);
}

static void what_the_tool_leaves_unread_is_left(void **state)
{
	expect_offset(reads_some, SOME + 1, 0, SOME);
	expect_offset(reads_some, BIG, 7, 7 + SOME);
	expect_offset(stuffs_its_input, 2000, 1500, 1500);
}

static void one_file_for_both_keeps_the_order(void **state)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct mock_run run;
	char line[16], *p = run.err;

	mock_start(&run, alternates, NULL);
	mock_ctl(&run, null, run.err_fd, ARGV("attach", "web", "i"));
	mock_finish(&run);
	assert_int_equal(run.status, 0);
	for (int i = 0; i < 500; i++) {
		size_t n = snprintf(line, sizeof(line), "%d\n", i);

		assert_memory_equal(p, line, n);
		p += n;
	}
	assert_string_equal(p, "");
}

static void holder_of_the_output_is_not_waited_for(void **state)
{
	struct mock_run run;

	mock_run(&run, is_survived, NULL, ARGV("attach", "web", "i"));
	assert_int_equal(run.status, 123);
	assert_memory_equal(run.out, "all\n", 4);
}

/* A limit that the tool's output exceeds, in recapctl only. */
static void expect_lost_output(const char *last, int status)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC), out = make_file(0);
	struct rlimit before, limit;
	struct mock_run run;
	struct stat st;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){100000, before.rlim_max};
	mock_start(&run, writes_much, last);
	setrlimit(RLIMIT_FSIZE, &limit);
	mock_ctl(&run, null, out, ARGV("attach", "web", "i"));
	setrlimit(RLIMIT_FSIZE, &before);
	mock_finish(&run);
	assert_int_equal(run.status, status);
	assert_non_null(strstr(run.err, "recapctl: cannot write to standard output, so that the "
					"tool's output is incomplete: File too large\n"));
	assert_true(fstat(out, &st) == 0 && st.st_size == 100000);
}

static void lost_output_is_an_error(void **state)
{
	expect_lost_output(LAST("\"exit_code\":0"), 125);
	expect_lost_output(LAST("\"signal\":13"), 125);
	expect_lost_output(QUARANTINED(""), 123);
}

static void lost_input_is_an_error(void **state)
{
	cleanup_fd int in = open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	struct mock_run run;

	assert_true(in >= 0);
	mock_start(&run, cats_between_pipes, NULL);
	mock_ctl(&run, in, run.out_fd, ARGV("attach", "web", "cat"));
	mock_finish(&run);
	assert_int_equal(run.status, 125);
	assert_string_equal(run.err, "recapctl: cannot read standard input, so that the tool's "
				     "input is incomplete: Bad file descriptor\n");
}

static void expect_refused_stream(const char *path, int flags, const char *err_part)
{
	cleanup_fd int fd = open(path, flags | O_CLOEXEC);
	struct mock_run run;

	assert_true(fd >= 0);
	mock_start(&run, runs_and_ends, LAST("\"exit_code\":0"));
	mock_ctl(&run, fd, run.out_fd, ARGV("attach", "web", "i"));
	mock_finish(&run);
	assert_int_equal(run.status, 125);
	assert_string_equal(run.calls, "");
	assert_non_null(strstr(run.err, err_part));
	assert_ptr_equal(strchr(run.err, '\n'), run.err + strlen(run.err) - 1);
}

static void what_is_no_stream_is_refused(void **state)
{
	expect_refused_stream("/tmp", O_RDONLY, "standard input is a folder");
	expect_refused_stream("/tmp", O_PATH, "standard input is a folder");
	expect_refused_stream("/proc/self/exe", O_PATH, "neither read nor written");
}

/* Ends with 42 unless the descriptors are those of `arg`. */
static void compares_streams(struct mock_call *call)
{
	const struct stat *expected = call->arg;
	struct stat st;

	mock_reply(call, FIRST);
	for (int i = 0; i < 2; i++)
		if (fstat(call->fds[i], &st) < 0 || st.st_dev != expected[i].st_dev ||
		    st.st_ino != expected[i].st_ino)
			mock_reply(call, LAST("\"exit_code\":42"));
	mock_reply(call, LAST("\"exit_code\":0"));
}

static void expect_passed(int in, int out)
{
	struct mock_run run;
	struct stat st[2];

	assert_int_equal(fstat(in, &st[0]), 0);
	assert_int_equal(fstat(out, &st[1]), 0);
	mock_start(&run, compares_streams, st);
	mock_ctl(&run, in, out, ARGV("attach", "web", "i"));
	mock_finish(&run);
	assert_int_equal(run.status, 0);
}

static void all_but_files_is_passed_itself(void **state)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int pipes[2], sockets[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	expect_passed(pipes[0], pipes[1]);
	expect_passed(sockets[0], sockets[1]);
	expect_passed(null, null);
	for (int i = 0; i < 2; i++) {
		close(pipes[i]);
		close(sockets[i]);
	}
}

/* ---- signals --------------------------------------------------------------------------------- */

/* Until the tool has written `text`, at most 10 seconds. */
static void wait_for(int fd, const char *text)
{
	char buf[4096];

	for (int i = 0; i < 1000; i++) {
		ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

		buf[n > 0 ? n : 0] = '\0';
		if (strstr(buf, text))
			return;
		usleep(10000);
	}
	fail_msg("no '%s' in '%s'", text, buf);
}

static void start_signalled(struct mock_run *run, mock_handler handler, const int *count)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	mock_start(run, handler, count);
	mock_ctl(run, null, run->out_fd, ARGV("attach", "web", "i"));
	wait_for(run->out_fd, "up\n");
	usleep(50000); /* the first reply came before "up", but recapctl may not have read it */
}

static void signals_are_passed_on(void **state)
{
	static const int sent[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT}, one = 1;
	struct mock_run run;
	char line[32];

	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		start_signalled(&run, runs_until_signalled, &one);
		kill(run.pid, sent[i]);
		mock_finish(&run);
		assert_int_equal(run.status, 128 + sent[i]);
		snprintf(line, sizeof(line), "up\ngot %d\n", sent[i]);
		assert_string_equal(run.out, line);
		assert_string_equal(run.err, "");
		assert_non_null(strstr(run.calls, "\"id\":\"c0ffee\""));
	}
}

static void third_interrupt_stops(void **state)
{
	static const int three = 3;
	struct mock_run run;

	start_signalled(&run, runs_until_signalled, &three);
	kill(run.pid, SIGINT);
	wait_for(run.out_fd, "got 2\n");
	kill(run.pid, SIGTERM);
	wait_for(run.out_fd, "got 15\n");
	kill(run.pid, SIGINT);
	mock_finish(&run);
	assert_non_null(strstr(run.out, "got 1000\n"));
	assert_non_null(strstr(run.calls, "{\"id\":\"c0ffee\",\"timeout_s\":0}"));
}

static void fourth_interrupt_leaves(void **state)
{
	static const int five = 5;
	struct mock_run run;

	start_signalled(&run, runs_until_signalled, &five);
	kill(run.pid, SIGINT);
	wait_for(run.out_fd, "got 2\n");
	kill(run.pid, SIGINT);
	usleep(100000);
	kill(run.pid, SIGINT);
	wait_for(run.out_fd, "got 1000\n");
	kill(run.pid, SIGINT);
	mock_finish(&run);
	assert_int_equal(run.status, 130);
	assert_non_null(strstr(run.err, "not waiting any longer"));
}

static void signal_before_the_start_is_kept(void **state)
{
	struct mock_run run;

	start_signalled(&run, waits_then_runs, NULL);
	kill(run.pid, SIGTERM);
	usleep(50000);
	dprintf(run.out_fd, "go\n");
	mock_finish(&run);
	assert_int_equal(run.status, 143);
	assert_non_null(strstr(run.calls, "{\"id\":\"c0ffee\",\"signal\":15}"));
}

static void second_signal_before_the_start_ends_recapctl(void **state)
{
	struct mock_run run;

	start_signalled(&run, says_nothing, NULL);
	kill(run.pid, SIGINT);
	usleep(50000);
	kill(run.pid, SIGTERM);
	mock_finish(&run);
	assert_int_equal(run.status, 143);
	assert_null(strstr(run.calls, "Signal"));
}

/* As with nohup(1), or in a shell's background job. */
static void ignored_signals_stay_ignored(void **state)
{
	static const int one = 1;
	struct mock_run run;

	signal(SIGHUP, SIG_IGN);
	start_signalled(&run, runs_until_signalled, &one);
	signal(SIGHUP, SIG_DFL);
	kill(run.pid, SIGHUP);
	usleep(100000);
	kill(run.pid, SIGTERM);
	mock_finish(&run);
	assert_int_equal(run.status, 143);
	assert_string_equal(run.out, "up\ngot 15\n");
}

/* ---- terminal -------------------------------------------------------------------------------- */

static bool wait_size(int fd, unsigned short rows)
{
	struct winsize size = {};

	for (int i = 0; i < 500 && size.ws_row != rows; i++) {
		ioctl(fd, TIOCGWINSZ, &size);
		usleep(10000);
	}
	return size.ws_row == rows;
}

/* A tool on a terminal: reads a line, tells sizes, writes as its last act. */
static void runs_on_terminal(struct mock_call *call)
{
	char line[64];
	ssize_t n;

	mock_reply(call, FIRST);
	if (!isatty(call->fds[0]) || !wait_size(call->fds[0], 33))
		_exit(1);
	dprintf(call->fds[1], "ready\n");
	n = read(call->fds[0], line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = '\0';
	dprintf(call->fds[1], "line=%s", line);
	if (!wait_size(call->fds[0], 44))
		_exit(1);
	dprintf(call->fds[1], "resized\n");
	/* Much, and at the very end: all of it must be shown. */
	for (int i = 0; i < 50; i++)
		dprintf(call->fds[1], "%064d\n", i);
	mock_reply(call, LAST("\"exit_code\":5"));
}

struct outer {
	struct mock_run run;
	int master, slave;
	struct termios before;
	char shown[16384];
	size_t n;
};

static void resize(struct outer *o, unsigned short rows)
{
	struct winsize size = {.ws_row = rows, .ws_col = 80};

	assert_int_equal(ioctl(o->master, TIOCSWINSZ, &size), 0);
}

/* recapctl as the leader of a session of its own on the outer terminal. */
static void start_on_terminal(struct outer *o, mock_handler handler, const void *arg,
			      char *const *argv)
{
	memset(o, 0, sizeof(*o));
	o->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(unlockpt(o->master), 0);
	o->slave = ioctl(o->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(o->slave >= 0);
	assert_int_equal(tcgetattr(o->slave, &o->before), 0);
	resize(o, 33);
	mock_start(&o->run, handler, arg);
	fflush(NULL);
	o->run.pid = fork();
	if (o->run.pid == 0) {
		char *full[32] = {"recapctl", "--socket", o->run.socket};
		int argc = 3;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		ioctl(o->slave, TIOCSCTTY, 0);
		dup2(o->slave, 0);
		dup2(o->slave, 1);
		dup2(o->run.err_fd, 2);
		while (*argv)
			full[argc++] = *argv++;
		exit(ctl_main(argc, full));
	}
}

/* Read what the operator sees until `text` is there. */
static void see(struct outer *o, const char *text)
{
	while (!strstr(o->shown, text)) {
		struct pollfd p = {o->master, POLLIN, 0};
		ssize_t n;

		if (poll(&p, 1, 10000) != 1)
			fail_msg("no '%s' in '%s'", text, o->shown);
		n = read(o->master, o->shown + o->n, sizeof(o->shown) - 1 - o->n);
		assert_true(n > 0);
		o->n += n;
	}
}

static void finish_on_terminal(struct outer *o)
{
	struct termios after;

	mock_finish(&o->run);
	assert_int_equal(tcgetattr(o->slave, &after), 0);
	assert_int_equal(after.c_iflag, o->before.c_iflag);
	assert_int_equal(after.c_oflag, o->before.c_oflag);
	assert_int_equal(after.c_lflag, o->before.c_lflag);
	assert_memory_equal(after.c_cc, o->before.c_cc, sizeof(after.c_cc));
	close(o->slave);
	close(o->master);
}

static void terminal_goes_both_ways(void **state)
{
	struct termios now;
	struct outer o;

	start_on_terminal(&o, runs_on_terminal, NULL, ARGV("attach", "-t", "web", "sh"));
	see(&o, "ready\r\n");
	/* Raw on the outside, cooked and echoing on the inside. */
	assert_int_equal(tcgetattr(o.slave, &now), 0);
	assert_false(now.c_lflag & (ICANON | ECHO | ISIG));
	assert_int_equal(write(o.master, "typed\r", 6), 6);
	see(&o, "line=typed\r\n");
	assert_non_null(strstr(o.shown, "typed\r\nline="));
	resize(&o, 44);
	see(&o, "resized\r\n");
	see(&o, "00049\r\n");
	finish_on_terminal(&o);
	assert_int_equal(o.run.status, 5);
	assert_string_equal(o.run.err, "");
	assert_non_null(strstr(o.run.calls, "\"terminal\":true"));
}

static void terminal_is_restored_when_recapd_dies(void **state)
{
	struct outer o;

	start_on_terminal(&o, dies_between, NULL, ARGV("attach", "-t", "web", "sh"));
	finish_on_terminal(&o);
	assert_int_equal(o.run.status, 125);
	assert_non_null(strstr(o.run.err, "lost the connection"));
}

static void terminal_is_restored_after_a_signal(void **state)
{
	static const int one = 1;
	struct outer o;

	start_on_terminal(&o, runs_until_signalled, &one, ARGV("attach", "-t", "web", "sh"));
	see(&o, "up\r\n");
	kill(o.run.pid, SIGTERM);
	finish_on_terminal(&o);
	assert_int_equal(o.run.status, 143);
	assert_non_null(strstr(o.run.calls, "\"signal\":15"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_status_is_the_tools),
		cmocka_unit_test(exit_status_says_who_ended_it),
		cmocka_unit_test(quarantine_names_the_holders),
		cmocka_unit_test(refusals_have_their_status),
		cmocka_unit_test(lost_or_mad_service_is_125),
		cmocka_unit_test(options_become_parameters),
		cmocka_unit_test(wrong_usage_asks_for_nothing),
		cmocka_unit_test(streams_are_recapctls_own),
		cmocka_unit_test(closed_streams_become_null),
		cmocka_unit_test(detached_passes_none_and_prints_the_id),
		cmocka_unit_test(report_is_the_last_record),
		cmocka_unit_test(report_follows_no_link),
		cmocka_unit_test(files_are_copied_whole),
		cmocka_unit_test(files_are_out_of_reach),
		cmocka_unit_test(what_the_tool_leaves_unread_is_left),
		cmocka_unit_test(one_file_for_both_keeps_the_order),
		cmocka_unit_test(holder_of_the_output_is_not_waited_for),
		cmocka_unit_test(lost_output_is_an_error),
		cmocka_unit_test(lost_input_is_an_error),
		cmocka_unit_test(what_is_no_stream_is_refused),
		cmocka_unit_test(all_but_files_is_passed_itself),
		cmocka_unit_test(signals_are_passed_on),
		cmocka_unit_test(third_interrupt_stops),
		cmocka_unit_test(fourth_interrupt_leaves),
		cmocka_unit_test(signal_before_the_start_is_kept),
		cmocka_unit_test(second_signal_before_the_start_ends_recapctl),
		cmocka_unit_test(ignored_signals_stay_ignored),
		cmocka_unit_test(terminal_goes_both_ways),
		cmocka_unit_test(terminal_is_restored_when_recapd_dies),
		cmocka_unit_test(terminal_is_restored_after_a_signal),
	};

	/* A service of the tests that has gone does not come back. */
	setenv("RECAP_REJOIN_S", "0", 1);

	setenv("MOCK_SET", "1", 1);
	unsetenv("MOCK_UNSET");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
