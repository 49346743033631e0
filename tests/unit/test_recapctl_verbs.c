// SPDX-License-Identifier: MIT
/* The other verbs of recapctl: what they ask for, print and return; and the text and JSON they are made of. */
#include "mock_recapd.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

static void replies(struct mock_call *call)
{
	mock_reply(call, call->arg);
}

/* Run it against one reply and compare all that comes of it. `call` NULL: nothing may be asked. */
static void expect(const char *reply, char *const *argv, int status, const char *out,
		   const char *err, const char *call)
{
	struct mock_run run;
	char line[512] = "";

	mock_run(&run, replies, reply, argv);
	assert_string_equal(run.err, err);
	assert_string_equal(run.out, out);
	assert_int_equal(run.status, status);
	if (call)
		snprintf(line, sizeof(line), "0 {\"method\":\"io.recap.%s}\n", call);
	assert_string_equal(run.calls, line);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void program_explains_itself(void **state)
{
	struct mock_run run;

	mock_run(&run, replies, "{}", ARGV("--help"));
	assert_int_equal(run.status, 0);
	assert_non_null(strstr(run.out, "attach"));
	mock_run(&run, replies, "{}", ARGV("stop", "--help"));
	assert_int_equal(run.status, 0);
	assert_non_null(strstr(run.out, "--timeout S"));
	mock_run(&run, replies, "{}", ARGV("image", "--help"));
	assert_int_equal(run.status, 0);
	assert_non_null(strstr(run.out, "image rm"));
	mock_run(&run, replies, "{}", ARGV("--version"));
	assert_int_equal(run.status, 0);
	assert_string_equal(run.out, "recapctl " RECAP_VERSION "\n");
}

static void expect_usage(char *const *argv, const char *err)
{
	expect("{}", argv, 2, "", err, NULL);
}

static void wrong_usage_is_one_line(void **state)
{
	expect_usage(ARGV("scan"), "recapctl: there is no verb 'scan' (see recapctl --help)\n");
	expect_usage(
		ARGV("image", "frob", "x"),
		"recapctl: 'image' needs to know what to do: load, pull, list, inspect, scan, trust, rm or prune (see recapctl "
		"--help)\n");
	expect_usage(ARGV("list", "x"), "recapctl: list takes no arguments: what is 'x' for? (see "
					"recapctl list --help)\n");
	expect_usage(ARGV("list", "-l", "x"), "recapctl: --label needs KEY=VALUE, not 'x' (see "
					      "recapctl list --help)\n");
	expect_usage(ARGV("inspect"), "recapctl: inspect needs one ID or TARGET (see recapctl "
				      "inspect --help)\n");
	expect_usage(
		ARGV("stop", "a", "b"),
		"recapctl: stop needs the ID of one capsule, as recapctl ps lists it (see recapctl "
		"stop --help)\n");
	expect_usage(ARGV("inspect", ""), "recapctl: inspect needs one ID or TARGET (see recapctl "
					  "inspect --help)\n");
	expect_usage(ARGV("list", "--x"),
		     "recapctl: there is no option '--x' (see recapctl list --help)\n");
	expect_usage(ARGV("image", "load"),
		     "recapctl: image load needs one FILE or DIR, or - for standard input (see "
		     "recapctl image load --help)\n");
}

static void no_service_is_one_line(void **state)
{
	struct mock_run run;

	mock_run(&run, replies, "{}", ARGV("--socket", "/nonexistent", "status"));
	assert_int_equal(run.status, 1);
	assert_string_equal(run.err,
			    "recapctl: recapd is not running: there is no socket /nonexistent "
			    "(start it, or name its socket with --socket)\n");
}

static void full_disk_is_an_error(void **state)
{
	cleanup_fd int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct mock_run run;

	mock_start(&run, replies, "{\"parameters\":{\"containers\":[]}}");
	mock_ctl(&run, full, full, ARGV("list"));
	mock_finish(&run);
	assert_int_equal(run.status, 1);
	assert_non_null(strstr(run.err, "No space left"));
}

/* ---- list ------------------------------------------------------------------------------------ */

#define CONTAINERS                                                                              \
	"[{\"id\":\"0123456789abcdef\",\"name\":\"web\",\"runtime\":\"docker\",\"image\":"      \
	"\"nginx:1\",\"kind\":\"container\",\"pid\":42,\"started_at\":\"2020-01-01T00:00:00Z\"" \
	"}, {\"id\":\"fe\",\"name\":\"k8s_x\",\"runtime\":\"containerd\",\"kind\":\"sandbox\"," \
	"\"pid\":7,\"started_at\":\"no time\",\"pod\":{\"namespace\":\"ns\",\"name\":\"p\","    \
	"\"container\":\"a\\u001b[31m\"}}]"

static void list_is_a_table(void **state)
{
	struct mock_run run;

	mock_run(&run, replies, "{\"parameters\":{\"containers\":" CONTAINERS "}}",
		 ARGV("list", "--all", "-l", "a=b", "-l", "c="));
	assert_string_equal(run.err, "");
	assert_int_equal(run.status, 0);
	assert_non_null(strstr(run.calls, "{\"labels\":[\"a=b\",\"c=\"],\"all\":true}"));
	assert_ptr_equal(strstr(run.out, "NAME             RUNTIME     ID            IMAGE    PID"),
			 run.out);
	assert_non_null(
		strstr(run.out, "\nweb              docker      0123456789ab  nginx:1   42"));
	assert_non_null(strstr(run.out, "d  container\n"));
	assert_non_null(
		strstr(run.out, "\npod/ns/p/a?[31m  containerd  fe            -          7"));
	assert_non_null(strstr(run.out, "    ?  sandbox\n"));
}

/* The array as it came, without a parser between. */
static void list_json_is_the_array(void **state)
{
	expect("{ \"parameters\" : {\"x\":{\"containers\":1},\"containers\":" CONTAINERS
	       " , \"more\":\"]}\"}}",
	       ARGV("list", "--json"), 0, CONTAINERS "\n", "",
	       "ListContainers\",\"parameters\":{}");
	expect("{\"error\":\"io.recap.Failed\",\"parameters\":{\"message\":\"no\"}}",
	       ARGV("list", "--json"), 1, "", "recapctl: no\n",
	       "ListContainers\",\"parameters\":{}");
}

#define ONE(name)                               \
	"{\"id\":\"" name "\",\"name\":\"" name \
	"\",\"runtime\":\"runc\",\"pid\":1,\"started_at\":\"\"}"

static void replies_thrice(struct mock_call *call)
{
	mock_reply(call, "{\"continues\":true,\"parameters\":{\"containers\":[" ONE("b") "]}}");
	mock_reply(call, "{\"continues\":true,\"parameters\":{\"containers\":[" ONE("c") "," ONE(
				 "a") "," ONE("b") "]}}");
	mock_reply(call, "{\"parameters\":{\"containers\":[" ONE("c") "]}}");
}

static void watch_prints_what_changed(void **state)
{
	struct mock_run run;

	mock_run(&run, replies_thrice, NULL, ARGV("list", "--watch"));
	assert_int_equal(run.status, 0);
	assert_string_equal(run.out, "+ b runc b - 1\n+ a runc a - 1\n+ c runc c - 1\n"
				     "- a runc a - 1\n- b runc b - 1\n");
	assert_non_null(strstr(run.calls, "\"more\":true"));
	mock_run(&run, replies_thrice, NULL, ARGV("list", "--watch", "--json"));
	assert_string_equal(run.out, "[" ONE("b") "]\n[" ONE("c") "," ONE("a") "," ONE(
					     "b") "]\n[" ONE("c") "]\n");
}

/* ---- capsules -------------------------------------------------------------------------------- */

static void ps_is_a_table(void **state)
{
	struct mock_run run;

	mock_run(
		&run, replies,
		"{\"parameters\":{\"capsules\":[{\"id\":\"c0ffee\",\"image\":{\"ref\":\"gdb:1\"},"
		"\"target\":{\"name\":\"web\"},\"command\":[\"gdb\",\"-p\",\"1\"],\"state\":"
		"\"quarantined\",\"holders\":[{\"pid\":5,\"command\":\"sh\",\"kind\":\"cwd\"},{}],"
		"\"exit_code\":7},{\"id\":\"b0\",\"state\":\"dropped\",\"command\":[\"a\"],\"signal\":9},"
		"{\"id\":\"f00\",\"state\":\"running\",\"command\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaa\u00e9\",\"b\"]}]}}",
		ARGV("ps", "--all"));
	assert_int_equal(run.status, 0);
	assert_non_null(strstr(run.calls, "ListCapsules\",\"parameters\":{\"all\":true}"));
	assert_ptr_equal(strstr(run.out, "ID      IMAGE  TARGET  STATE"), run.out);
	assert_non_null(strstr(
		run.out, "\nc0ffee  gdb:1  web     quarantined: PID 5 (sh) holds it as its cwd "
			 "(+1)  7          ?  gdb -p 1\n"));
	assert_non_null(strstr(run.out, "  SIGKILL    ?  a\n"));
	assert_non_null(strstr(
		run.out, "  -          ?  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9...\n"));
	/* How it ended is of those that have. */
	expect("{\"parameters\":{\"capsules\":[]}}", ARGV("ps"), 0,
	       "ID  IMAGE  TARGET  STATE  AGE  COMMAND\n", "", "ListCapsules\",\"parameters\":{}");
}

static void inspect_prints_the_one_record(void **state)
{
	expect("{\"parameters\":{\"container\":null,\"capsule\":{\"id\":\"x\",\"a\":[1]}}}",
	       ARGV("inspect", "x"), 0, "{\n  \"id\": \"x\",\n  \"a\": [\n    1\n  ]\n}\n", "",
	       "Inspect\",\"parameters\":{\"id\":\"x\"}");
	expect("{\"parameters\":{}}", ARGV("inspect", "x"), 1, "",
	       "recapctl: recapd's reply has neither a container nor a capsule\n",
	       "Inspect\",\"parameters\":{\"id\":\"x\"}");
}

static void stop_prints_the_id(void **state)
{
	expect("{\"parameters\":{\"capsule\":{\"id\":\"c0ffee\",\"state\":\"dropped\"}}}",
	       ARGV("stop", "c0", "--timeout", "0"), 0, "c0ffee\n", "",
	       "Stop\",\"parameters\":{\"timeout_s\":0,\"id\":\"c0\"}");
	expect("{\"parameters\":{\"capsule\":{\"id\":\"c0ffee\",\"state\":\"quarantined\"}}}",
	       ARGV("stop", "c0"), 123, "c0ffee\n",
	       "recapctl: layer quarantined: its holder is not known (see recapctl inspect "
	       "c0ffee)\n",
	       "Stop\",\"parameters\":{\"id\":\"c0\"}");
}

/* ---- logs ------------------------------------------------------------------------------------ */

/* The output so far; with "more", some more of it, and the end. */
static void has_logs(struct mock_call *call)
{
	/* No memfd: those tell inotify nothing on kernel 6.13 and later (alloc_file_pseudo()). */
	int file = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	if (fd_write_all(file, "one\n", 4) < 0)
		_exit(1);
	call->v->out_fd = dup(file);
	if (!call->more) {
		mock_reply(call, "{\"parameters\":{\"running\":true}}");
		close(file);
		return;
	}
	mock_reply(call, "{\"continues\":true,\"parameters\":{\"running\":true}}");
	usleep(50000);
	if (fd_write_all(file, "two\n", 4) < 0)
		_exit(1);
	/* Only inotify can tell of this: no reply comes until the reader has it (the test's side of a pipe). */
	if (mock_side(call) < 0 || fd_write_all(file, "three\n", 6) < 0)
		_exit(1);
	mock_reply(call, "{\"parameters\":{\"running\":false}}");
	close(file);
}

static void logs_copies_what_is_there(void **state)
{
	struct mock_run run;

	mock_run(&run, has_logs, NULL, ARGV("logs", "c0"));
	assert_string_equal(run.err, "");
	assert_string_equal(run.out, "one\n");
	assert_int_equal(run.status, 0);
}

static void side_signal(struct mock_run *run)
{
	struct varlink v;
	struct error err;
	struct json_object *params = json_object_new_object();

	json_put_int(params, "signal", 1);
	assert_int_equal(varlink_connect(run->socket, &v, &err), 0);
	assert_int_equal(varlink_call(&v, "io.recap.Signal", params, false, NULL, 0, &err), 0);
	varlink_close(&v);
	json_object_put(params);
}

static void logs_or_signal(struct mock_call *call)
{
	if (!strcmp(call->method, "Logs"))
		has_logs(call);
}

static void logs_follows_to_the_end(void **state)
{
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char line[64] = "";
	struct mock_run run;
	int out[2];
	size_t n = 0;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	mock_start(&run, logs_or_signal, NULL);
	mock_ctl(&run, null, out[1], ARGV("logs", "-f", "c0"));
	close(out[1]);
	for (ssize_t got; n < 8; n += got) {
		got = read(out[0], line + n, 8 - n);
		assert_true(got > 0);
	}
	assert_string_equal(line, "one\ntwo\n");
	side_signal(&run);
	assert_int_equal(read(out[0], line, 8), 6);
	assert_memory_equal(line, "three\n", 6);
	close(out[0]);
	mock_finish(&run);
	assert_string_equal(run.err, "");
	assert_int_equal(run.status, 0);
}

static void logs_without_output_is_an_error(void **state)
{
	expect("{\"parameters\":{\"running\":true}}", ARGV("logs", "c0"), 1, "",
	       "recapctl: recapd's reply came without the capsule's output\n",
	       "Logs\",\"parameters\":{\"id\":\"c0\"}");
	expect("{\"error\":\"io.recap.CapsuleNotFound\",\"parameters\":{\"message\":\"no c0\"}}",
	       ARGV("logs", "c0"), 1, "", "recapctl: no c0\n",
	       "Logs\",\"parameters\":{\"id\":\"c0\"}");
}

/* ---- images ---------------------------------------------------------------------------------- */

/* What was passed must be the folder. */
static void loads_folder(struct mock_call *call)
{
	struct stat st;

	if (fstat(call->fds[0], &st) < 0 || !S_ISDIR(st.st_mode))
		_exit(1);
	mock_reply(call, "{\"parameters\":{\"images\":[{\"ref\":\"a:1\",\"digest\":\"sha256:"
			 "0123456789abcdef\"},{\"ref\":\"b\\u0007:2\",\"digest\":\"sha256:f\"}]}}");
}

static void image_load_passes_the_file(void **state)
{
	struct mock_run run;

	mock_run(&run, loads_folder, NULL, ARGV("image", "load", "/tmp", "--ref", "a:1"));
	assert_string_equal(run.err, "");
	assert_string_equal(run.out, "a:1 0123456789ab\nb?:2 f\n");
	assert_string_equal(
		run.calls,
		"1 {\"method\":\"io.recap.LoadImage\",\"parameters\":{\"ref\":\"a:1\"},\"more\":true}\n");
	expect("{}", ARGV("image", "load", "/nonexistent"), 1, "",
	       "recapctl: cannot open /nonexistent: No such file or directory\n", NULL);
	expect("{}", ARGV("image", "load", "/dev/null"), 1, "",
	       "recapctl: /dev/null is neither a tar archive nor a folder\n", NULL);
}

/* Says twice how far it is, before it has a result. */
static void loads_fifo(struct mock_call *call)
{
	struct stat st;

	if (fstat(call->fds[0], &st) < 0 || !S_ISFIFO(st.st_mode))
		_exit(1);
	mock_reply(call, "{\"parameters\":{\"progress\":{\"step\":\"receiving\",\"done\":1}},"
			 "\"continues\":true}");
	mock_reply(call, "{\"parameters\":{\"progress\":{\"step\":\"unpacking\",\"done\":1,"
			 "\"total\":2}},\"continues\":true}");
	mock_reply(call, "{\"parameters\":{\"images\":[{\"ref\":\"a:1\",\"digest\":\"sha256:"
			 "0123456789abcdef\"}]}}");
}

/* recapd waits for what comes through it. Progress is for terminals. */
static void image_load_waits_for_no_fifo(void **state)
{
	char path[] = "/tmp/recapctl-fifo.XXXXXX";
	struct mock_run run;

	close(mkstemp(path));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	mock_run(&run, loads_fifo, NULL, ARGV("image", "load", path));
	assert_string_equal(run.err, "");
	assert_string_equal(run.out, "a:1 0123456789ab\n");
	unlink(path);
}

static void image_list_and_rm(void **state)
{
	expect("{\"parameters\":{\"images\":[{\"ref\":\"a:1\",\"digest\":\"sha256:0123456789abcdef\","
	       "\"layers\":2,\"bytes\":5242880,\"shared_bytes\":100,\"created\":null,\"scan\":\"stale\"},"
	       "{\"ref\":\"b:1\",\"digest\":\"sha256:1\",\"layers\":1,\"bytes\":1,\"shared_bytes\":0,"
	       "\"created\":\"1970-01-01T00:00:00Z\",\"scan\":\"-\"}]}}",
	       ARGV("image", "list"), 0,
	       "REF  DIGEST        LAYERS  SIZE  SHARED  AGE  SCAN\n"
	       "a:1  0123456789ab       2  5.0M    100B    -  stale\n"
	       "b:1  1                  1    1B      0B    -  -\n",
	       "", "ListImages\"");
	expect("{\"parameters\":{\"images\":[]}}", ARGV("image", "list", "--json"), 0, "[]\n", "",
	       "ListImages\"");
	expect("{\"parameters\":{}}", ARGV("image", "rm", "a:1"), 0, "a:1\n", "",
	       "RemoveImage\",\"parameters\":{\"ref\":\"a:1\"}");
	expect("{\"error\":\"io.recap.ImageInUse\",\"parameters\":{\"message\":\"a:1 is in use\"}}",
	       ARGV("image", "rm", "a:1"), 1, "", "recapctl: a:1 is in use\n",
	       "RemoveImage\",\"parameters\":{\"ref\":\"a:1\"}");
}

static void image_scan_and_trust(void **state)
{
	static const char refused[] =
		"{\"parameters\":{\"ref\":\"a:1\",\"state\":\"refused\",\"why\":\"a secret\",\"verdict\":"
		"{\"findings\":[{\"check\":\"root-user\",\"severity\":\"low\",\"message\":\"root\"},"
		"{\"check\":\"secret\",\"severity\":\"high\",\"path\":\"/k\",\"message\":\"a key\"}]}}}";
	struct mock_run run;

	expect(refused, ARGV("image", "scan", "a"), 1,
	       "SEVERITY  CHECK      PATH  MESSAGE\n"
	       "high      secret     /k    a key\n"
	       "low       root-user  -     root\n",
	       "recapctl: a:1 would be refused: a secret\n",
	       "ScanImage\",\"parameters\":{\"ref\":\"a\"}");
	expect("{\"parameters\":{\"ref\":\"a:1\",\"state\":\"ok\",\"verdict\":{\"findings\":[]}}}",
	       ARGV("image", "scan", "a"), 0, "", "", "ScanImage\",\"parameters\":{\"ref\":\"a\"}");
	expect("{\"parameters\":{\"ref\":\"a:1\",\"state\":\"ok\"}}",
	       ARGV("image", "scan", "a", "--json"), 0, "{\"ref\":\"a:1\",\"state\":\"ok\"}\n", "",
	       "ScanImage\",\"parameters\":{\"ref\":\"a\"}");
	mock_run(
		&run, replies,
		"{\"error\":\"io.recap.ImageRefused\",\"parameters\":{\"message\":\"not one of a\"}}",
		ARGV("image", "trust", "a", "/etc/passwd"));
	assert_int_equal(run.status, 1);
	assert_string_equal(run.err, "recapctl: not one of a\n");
	assert_string_equal(
		run.calls,
		"1 {\"method\":\"io.recap.TrustImage\",\"parameters\":{\"ref\":\"a\"}}\n");
	expect("{}", ARGV("image", "trust", "a", "/dev/null"), 1, "",
	       "recapctl: /dev/null is no regular file\n", NULL);
}

/* ---- the service ----------------------------------------------------------------------------- */

static void stats_shows_what_is_not_zero(void **state)
{
	static const char reply[] =
		"{\"parameters\":{\"latency\":[{\"image\":\"gdb\",\"phase\":\"drop\",\"count\":3,"
		"\"p50_us\":1,\"p90_us\":20,\"p99_us\":300,\"max_us\":4000}],"
		"\"counters\":{\"map_full\":0,\"tag_failed\":2}}}";

	expect(reply, ARGV("stats"), 0,
	       "CAPSULE  PHASE  COUNT  P50 us  P90 us  P99 us  MAX us\n"
	       "gdb      drop       3       1      20     300    4000\n"
	       "\nCOUNTER     VALUE\ntag_failed      2\n",
	       "", "Stats\"");
	expect("{\"parameters\":{\"latency\":[],\"counters\":{}}}", ARGV("stats", "--json"), 0,
	       "{\"latency\":[],\"counters\":{}}\n", "", "Stats\"");
}

/* ---- policy ---------------------------------------------------------------------------------- */

static void policies_are_explained(void **state)
{
	static const char reply[] =
		"{\"parameters\":{\"allowed\":true,\"rule\":\"b\",\"limits\":{\"pids\":20},\"rules\":["
		"{\"name\":\"a\",\"decision\":\"deny\",\"why\":\"not \\u001bthis\"},"
		"{\"name\":\"b\",\"decision\":\"allow\"}]}}";

	expect(reply, ARGV("policy", "explain", "--as", "bob", "stop", "x"), 0,
	       "RULE  DECISION  WHY NOT\n"
	       "a     deny      not ?this\n"
	       "b     allow     it matches\n"
	       "allowed by rule \"b\"\n"
	       "limit: pids 20\n",
	       "",
	       "PolicyExplain\",\"parameters\":{\"verb\":\"stop\",\"as\":\"bob\",\"request\":{\"id\":\"x\"}}");
	expect("{\"parameters\":{\"allowed\":false,\"why\":\"no rule\",\"rules\":[]}}",
	       ARGV("policy", "explain", "image.rm", "x:1"), 1, "refused: no rule\n", "",
	       "PolicyExplain\",\"parameters\":{\"verb\":\"image.rm\",\"request\":{\"ref\":\"x:1\"}}");
	expect("{\"parameters\":{\"allowed\":true,\"rules\":[]}}",
	       ARGV("policy", "explain", "attach", "-u", "5", "web", "tool", "--", "x"), 0,
	       "allowed: no rule says otherwise of root\n", "",
	       "PolicyExplain\",\"parameters\":{\"verb\":\"attach\",\"request\":{\"user\":\"5\",\"target\":\"web\","
	       "\"image\":\"tool\",\"args\":[\"x\"]}}");
	expect_usage(ARGV("policy", "explain"),
		     "recapctl: policy explain needs a VERB, such as attach (see recapctl policy "
		     "explain --help)\n");
	expect_usage(ARGV("policy", "explain", "stop", "x", "y"),
		     "recapctl: stop takes one ID or REF: what is 'y' for? (see recapctl policy "
		     "explain --help)\n");
	expect_usage(ARGV("policy"),
		     "recapctl: 'policy' needs to know what to do: check or explain (see recapctl "
		     "--help)\n");
}

static void policies_are_checked_as_text(void **state)
{
	char path[] = "/tmp/recap-policy-XXXXXX", link[64], out[96];
	int fd = mkstemp(path);

	assert_int_equal(fd_write_all(fd, "{}", 2), 0);
	close(fd);
	snprintf(out, sizeof(out), "%s: 7 rules\n", path);
	expect("{\"parameters\":{\"rules\":7}}", ARGV("policy", "check", path), 0, out, "",
	       "PolicyCheck\",\"parameters\":{\"text\":\"{}\"}");
	/* Through a link, too: what was named was meant. */
	snprintf(link, sizeof(link), "%s-link", path);
	assert_int_equal(symlink(path, link), 0);
	snprintf(out, sizeof(out), "%s: 1 rule\n", link);
	expect("{\"parameters\":{\"rules\":1}}", ARGV("policy", "check", link), 0, out, "",
	       "PolicyCheck\",\"parameters\":{\"text\":\"{}\"}");
	unlink(link);
	unlink(path);
	expect("{}", ARGV("policy", "check", "/proc/self/exe"), 1, "",
	       "recapctl: /proc/self/exe is longer than 256 KiB\n", NULL);
	expect("{}", ARGV("policy", "check", "/proc/self/cmdline"), 1, "",
	       "recapctl: /proc/self/cmdline is not text: it has a NUL byte\n", NULL);
	expect("{}", ARGV("policy", "check", "/nonexistent"), 1, "",
	       "recapctl: cannot read /nonexistent: No such file or directory\n", NULL);
}

static void status_fails_on_problems(void **state)
{
	struct mock_run run;

	mock_run(&run, replies, "{\"parameters\":{\"version\":\"1.2\",\"pid\":9,\"problems\":[]}}",
		 ARGV("status"));
	assert_int_equal(run.status, 0);
	assert_ptr_equal(strstr(run.out, "recapd       1.2, PID 9, up ?, ABI 0\n"), run.out);
	assert_non_null(strstr(run.out, "problems     none\n"));
	mock_run(&run, replies,
		 "{\"parameters\":{\"problems\":[\"map \\u001bfull\",\"no bpffs\"]}}",
		 ARGV("status"));
	assert_int_equal(run.status, 1);
	assert_non_null(strstr(run.out, "problems     map ?full\n             no bpffs\n"));
	expect("{\"parameters\":{\"problems\":[\"x\"]}}", ARGV("status", "--json"), 1,
	       "{\"problems\":[\"x\"]}\n", "", "Status\"");
	mock_run(&run, replies, "{\"parameters\":{}}", ARGV("status"));
	assert_int_equal(run.status, 1);
}

/* ---- text and JSON --------------------------------------------------------------------------- */

static void expect_clean(const char *in, const char *out)
{
	char buf[64];

	snprintf(buf, sizeof(buf), "%s", in);
	text_clean(buf);
	assert_string_equal(buf, out);
}

static void terminals_get_only_text(void **state)
{
	expect_clean("plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82",
		     "plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82");
	expect_clean("a\x1b[2J\x07\x7f\n\t", "a?[2J????");
	expect_clean("\xc2\x9b"
		     "31m",
		     "?31m"); /* C1: CSI */
	expect_clean("\xe2\x80\xae"
		     "cod",
		     "?cod"); /* right-to-left override */
	expect_clean("\xff\xfe\x80", "???");
	expect_clean("\xc3", "?");
	expect_clean("\xe2\x82", "??");
	expect_clean("\xc0\xaf\xe0\x80\xaf", "?????"); /* overlong */
	expect_clean("\xed\xa0\x80", "???");	       /* surrogate */
	expect_clean("\xf4\x90\x80\x80", "????");
	expect_clean("", "");
}

static void expect_age(const char *since, const char *want)
{
	char age[TEXT_AGE_SIZE];

	text_age(since, 1577836800 /* 2020-01-01T00:00:00Z */, age);
	assert_string_equal(age, want);
}

static void ages_are_short(void **state)
{
	expect_age("2019-12-31T23:59:55Z", "5s");
	expect_age("2019-12-31T23:58:30.123Z", "90s");
	expect_age("2019-12-31T22:30:00Z", "90m");
	expect_age("2019-12-30T18:00:00Z", "30h");
	expect_age("2019-01-01T00:00:00Z", "365d");
	expect_age("2021-01-01T00:00:00Z", "0s");
	expect_age("yesterday", "?");
	expect_age(NULL, "?");
}

static struct raw raw_of(const char *text)
{
	return (struct raw){text, strlen(text)};
}

static void expect_member(const char *text, const char *want)
{
	static const char *const key = "k";
	struct raw value;

	assert_int_equal(raw_members(raw_of(text), &key, &value, 1), 0);
	assert_non_null(value.text);
	assert_int_equal(value.len, strlen(want));
	assert_memory_equal(value.text, want, value.len);
}

static void raw_members_are_found(void **state)
{
	static const char *const absent[] = {"{}", " { } ", "{\"a\":{\"k\":1}}",
					     "{\"a\":\"\\\"k\\\":1\"}"};
	static const char *const bad[] = {
		"",	    "[]",	 "{",		"{\"k\"", "{\"k\":", "{\"k\":[",
		"{\"a\":1", "{\"k\":\"", "{\"k\":\"\\", "{k:1}",  "{\"k\":1"};
	static const char *const key = "k";
	struct raw value;

	expect_member("{\"k\":1}", "1");
	expect_member(" {\"a\" : [{\"k\":2}], \"k\" : true , \"b\":0}", "true");
	expect_member("{\"k\":\"}\\\"]\"}", "\"}\\\"]\"");
	expect_member("{\"k\":[{},[\"]\"]]}", "[{},[\"]\"]]");
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		assert_int_equal(raw_members(raw_of(absent[i]), &key, &value, 1), 0);
		assert_null(value.text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(raw_members(raw_of(bad[i]), &key, &value, 1), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_explains_itself),
		cmocka_unit_test(wrong_usage_is_one_line),
		cmocka_unit_test(no_service_is_one_line),
		cmocka_unit_test(full_disk_is_an_error),
		cmocka_unit_test(list_is_a_table),
		cmocka_unit_test(list_json_is_the_array),
		cmocka_unit_test(watch_prints_what_changed),
		cmocka_unit_test(ps_is_a_table),
		cmocka_unit_test(inspect_prints_the_one_record),
		cmocka_unit_test(stop_prints_the_id),
		cmocka_unit_test(logs_copies_what_is_there),
		cmocka_unit_test(logs_follows_to_the_end),
		cmocka_unit_test(logs_without_output_is_an_error),
		cmocka_unit_test(image_load_passes_the_file),
		cmocka_unit_test(image_load_waits_for_no_fifo),
		cmocka_unit_test(image_list_and_rm),
		cmocka_unit_test(image_scan_and_trust),
		cmocka_unit_test(stats_shows_what_is_not_zero),
		cmocka_unit_test(policies_are_explained),
		cmocka_unit_test(policies_are_checked_as_text),
		cmocka_unit_test(status_fails_on_problems),
		cmocka_unit_test(terminals_get_only_text),
		cmocka_unit_test(ages_are_short),
		cmocka_unit_test(raw_members_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
