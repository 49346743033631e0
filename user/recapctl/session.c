// SPDX-License-Identifier: MIT
/*
 * An attach from its call to its last reply. The tool uses our standard streams, but for files, or the pty's
 * other side, by itself: what remains for recapctl is to pass on signals and keys, and to wait.
 */
#include "recapctl/recapctl.h"

#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#include "common/fd.h"

/* The third interrupt kills the capsule's tree; one more gives up waiting for recapd. */
#define INTERRUPTS_STOP 3

#define REJOIN_S \
	15 /* how long a recapd that has gone is waited for, unless RECAP_REJOIN_S says it */
#define REJOIN_MAX_S 86400
#define REJOIN_SAY   (1000000000ull) /* from then on the wait is worth a word */
#define REJOIN_POLL  20		     /* ms */
#define LASTING	     (5000000000ull) /* a recapd that goes sooner than this has not come back */

enum {
	POLL_LINK,
	POLL_SIGNALS,
	POLL_CONTROL,
	POLL_PTY,
	POLL_STDIN,
	POLL_RELAY,
	POLL_COUNT = POLL_RELAY + RELAY_COUNT
};

void session_init(struct session *s, const struct ctl *ctl)
{
	*s = (struct session){.ctl = ctl, .signals = -1};
	terminal_init(&s->term);
	relay_init(&s->relay);
	varlink_init(&s->link, -1, VARLINK_REPLY_MAX);
	varlink_init(&s->control, -1, VARLINK_REPLY_MAX);
}

void session_close(struct session *s)
{
	terminal_close(&s->term);
	relay_close(&s->relay);
	/* The connection ends with us: recapd, which its end wakes, is not to run in our place before we have got there. */
	s->link.fd = -1;
	varlink_close(&s->link);
	varlink_close(&s->control);
	s->signals = fd_close(s->signals);
	free(s->id);
	s->id = NULL;
}

/* ---- signals --------------------------------------------------------------------------------- */

/*
 * Take signals as messages, from before the call on, so that none is lost between. Those that we were started to
 * ignore (nohup, a shell's background job) stay ignored: signalfd(2) would see them, since they are blocked.
 */
static int open_signals(struct session *s, struct error *err)
{
	static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct sigaction now;

		if (wanted[i] == SIGWINCH && s->term.master < 0)
			continue;
		if (sigaction(wanted[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&set, wanted[i]);
	}
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return error_sys(err, errno, "cannot block signals");
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? error_sys(err, errno, "cannot receive signals") : 0;
}

/* A call beside the attach. Its reply is not waited for: recapd may be busy, and further signals come first. */
static void control(struct session *s, const char *method, const char *key, int value)
{
	cleanup_json struct json_object *params = json_object_new_object();
	struct error err = {};
	int r = 0;

	json_put_str(params, "id", s->id);
	json_put_int(params, key, value);
	if (s->control.fd < 0)
		r = varlink_connect(s->ctl->socket, &s->control, &err);
	if (r == 0)
		r = varlink_call(&s->control, method, params, false, NULL, 0, &err);
	if (r == 0) {
		s->unanswered++;
		return;
	}
	varlink_close(&s->control);
	s->unanswered = 0;
	/* Where recapd has gone, the next one is told: started(). */
	if (r != -ECONNREFUSED && r != -ENOENT && r != -ECONNRESET && r != -EPIPE)
		ctl_warn("cannot pass the signal on: %s", err.msg);
}

/* Kept until recapd has answered: what it was told as it died, it did not do. */
static void pass_on(struct session *s, int signo)
{
	s->pending = signo;
	if (s->lost)
		return;
	if (s->interrupts == INTERRUPTS_STOP && (signo == SIGINT || signo == SIGTERM))
		control(s, "io.recap.Stop", "timeout_s", 0);
	else
		control(s, "io.recap.Signal", "signal", signo);
}

static int on_signal(struct session *s, int signo)
{
	if (signo == SIGWINCH) {
		terminal_resize(&s->term);
		return 0;
	}
	if (signo == SIGINT || signo == SIGTERM)
		s->interrupts++;
	/* recapd's first word, with the ID to send signals to, should be on its way; or recapd itself. */
	if ((!s->id || s->lost) && !s->pending) {
		s->pending = signo;
		return 0;
	}
	if (!s->id || s->interrupts > INTERRUPTS_STOP) {
		if (s->id)
			ctl_warn("not waiting any longer: recapd ends capsule %s", s->id);
		/* recapd ends the capsule when we close the connection. */
		s->left = signo;
		return -EINTR;
	}
	pass_on(s, signo);
	return 0;
}

static int read_signals(struct session *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
		int r = on_signal(s, (int)info.ssi_signo);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Replies to Signal() and Stop(): a capsule that has just ended is no error of ours. */
static void read_control(struct session *s)
{
	const char *text;
	size_t len;
	int r = varlink_read(&s->control);

	while (varlink_next(&s->control, &text, &len))
		if (s->unanswered && --s->unanswered == 0)
			s->pending = 0;
	if (r > 0 || r == -EAGAIN)
		return;
	varlink_close(&s->control);
	s->unanswered = 0;
}

/* ---- replies --------------------------------------------------------------------------------- */

/* recapd has gone, and the capsule goes on without it. */
static int lost(struct session *s)
{
	varlink_close(&s->link);
	varlink_close(&s->control);
	s->unanswered = 0;
	s->lost = true;
	if (!s->lost_ns || clock_boot_ns() > s->connected_ns + LASTING)
		s->lost_ns = clock_boot_ns();
	return 0;
}

static int lost_recapd(struct session *s, struct error *err)
{
	if (s->busy.code) {
		*err = s->busy;
		return -err->code;
	}
	if (!s->id)
		return error_set(
			err, ECONNRESET,
			"lost the connection to recapd before the tool ran, and it did not come "
			"back: see its log");
	return error_set(err, ECONNRESET,
			 "lost the connection to recapd while capsule %s ran, and it did not come "
			 "back: see its log, and recapctl ps for whether the capsule still runs",
			 s->id);
}

/* The first reply, of each recapd: the tool runs. */
static int started(struct session *s, struct json_object *capsule, struct error *err)
{
	const char *id = json_get_str(capsule, "id");

	if (!id)
		return error_set(err, EPROTO, "recapd's reply names no capsule");
	if (!s->id && !(s->id = strdup(id)))
		return error_set(err, ENOMEM, "out of memory");
	if (s->pending)
		pass_on(s, s->pending);
	return terminal_raw(&s->term, err);
}

static int not_rejoined(struct session *s, int r, struct error *err);

/* 1: that was the last reply, and *ret is its record; 0: more will come. */
static int take_reply(struct session *s, const char *text, size_t len, struct json_object **ret,
		      struct error *err)
{
	cleanup_json struct json_object *params = NULL;
	struct json_object *capsule;
	bool continues;
	int r = varlink_parse_reply(text, len, &params, &continues, err);

	if (r < 0)
		return s->again ? not_rejoined(s, r, err) : r;
	relay_passed(&s->relay);
	capsule = json_get(params, "capsule", json_type_object);
	if (continues)
		return started(s, capsule, err);
	if (!capsule)
		return error_set(err, EPROTO, "recapd's last reply has no record of the capsule");
	*ret = json_object_get(capsule);
	return 1;
}

static int read_replies(struct session *s, struct json_object **ret, struct error *err)
{
	const char *text;
	size_t len;
	int got = varlink_read(&s->link);

	while (varlink_next(&s->link, &text, &len)) {
		int r = take_reply(s, text, len, ret, err);

		if (r)
			return r;
	}
	if (got == -EMSGSIZE)
		return error_set(err, EMSGSIZE, "recapd's reply is too long, or has descriptors");
	if (got == 1 || got == -EAGAIN)
		return 0;
	return lost(s);
}

/* ---- the call and the loop ------------------------------------------------------------------- */

static int called(struct session *s, int r)
{
	return r == -ECONNRESET ? lost(s) : r;
}

/* Calls one after the other: the first is the attach; after that it is asked for, and made again when it never got anywhere. */
static int call_attach(struct session *s, struct error *err)
{
	bool detach = json_get_bool(s->params, "detach");

	s->again = false;
	return called(s, varlink_call(&s->link, "io.recap.Attach", s->params, true, s->streams,
				      detach ? 0 : RELAY_COUNT, err));
}

static int call_rejoin(struct session *s, struct error *err)
{
	cleanup_json struct json_object *params = json_object_new_object();

	s->again = true;
	json_put_str(params, "token", s->token);
	return called(s, varlink_call(&s->link, "io.recap.Rejoin", params, true, NULL, 0, err));
}

/* recapd knows nothing of the call: then nothing has run, and it may be made once more. */
static int not_rejoined(struct session *s, int r, struct error *err)
{
	bool unknown = !strcmp(err->name, "CapsuleNotFound") || !strcmp(err->name, "Restarted");

	/* Others were faster. */
	if (!strcmp(err->name, "Busy")) {
		s->busy = *err;
		return lost(s);
	}
	return unknown && !s->id ? call_attach(s, err) : r;
}

static uint64_t patience(void)
{
	const char *s = getenv("RECAP_REJOIN_S");
	char *end = NULL;
	unsigned long seconds = s && *s ? strtoul(s, &end, 10) : REJOIN_S;

	if ((end && *end) || seconds > REJOIN_MAX_S)
		seconds = REJOIN_S;
	return seconds * 1000000000ull;
}

static int connect_again(struct session *s, struct error *err)
{
	int r = varlink_connect(s->ctl->socket, &s->link, err);

	if (r < 0)
		varlink_close(&s->link);
	else
		s->connected_ns = clock_boot_ns();
	s->busy.code = 0;
	return r;
}

/* recapd has gone: is there another? */
static int rejoin(struct session *s, struct error *err)
{
	uint64_t waited = clock_boot_ns() - s->lost_ns;
	struct error ignored;

	if (waited >= patience())
		return lost_recapd(s, err);
	if (waited > REJOIN_SAY && !s->said)
		ctl_warn("recapd %s", s->busy.code ? "is busy: waiting until it has room"
						   : "has gone: waiting for it to come back");
	s->said = waited > REJOIN_SAY;
	/* One that has no room is not asked all the time. */
	if (clock_boot_ns() < s->connected_ns + REJOIN_POLL * 1000000ull)
		return 0;
	if (connect_again(s, &ignored) < 0)
		return 0;
	s->lost = false;
	return call_rejoin(s, err);
}

static int open_streams(struct session *s, enum session_streams streams, struct error *err)
{
	int r = 0;

	if (streams == SESSION_TERMINAL)
		r = terminal_open(&s->term, err);
	else if (streams == SESSION_OWN)
		r = relay_open(&s->relay, s->streams, err);
	for (int i = 0; i < RELAY_COUNT && streams == SESSION_TERMINAL; i++)
		s->streams[i] = s->term.slave;
	/* What is only started is soon over: then a signal ends us at once, as usual. */
	return r < 0 || streams == SESSION_NONE ? r : open_signals(s, err);
}

static int begin(struct session *s, struct json_object *params, enum session_streams streams,
		 struct error *err)
{
	uint64_t random[2];
	int r = open_streams(s, streams, err);

	if (r == 0 && getrandom(random, sizeof(random), 0) != sizeof(random))
		r = error_sys(err, errno, "getrandom");
	if (r == 0)
		r = connect_again(s, err);
	if (r < 0)
		return r;
	snprintf(s->token, sizeof(s->token), "%016llx%016llx", (unsigned long long)random[0],
		 (unsigned long long)random[1]);
	s->params = params;
	json_put_str(params, "token", s->token);
	return call_attach(s, err);
}

static void wanted_events(const struct session *s, struct pollfd p[POLL_COUNT])
{
	const struct terminal *t = &s->term;
	short to_pty = t->n_typed ? POLLOUT : 0;

	p[POLL_LINK] = (struct pollfd){s->link.fd, POLLIN, 0};
	p[POLL_SIGNALS] = (struct pollfd){s->signals, POLLIN, 0};
	p[POLL_CONTROL] = (struct pollfd){s->control.fd, POLLIN, 0};
	/* Until the tool runs the terminal is not raw, and would interpret keys and output once more. */
	p[POLL_PTY] = (struct pollfd){t->raw ? t->master : -1, (short)(POLLIN | to_pty), 0};
	/* Keys wait in the terminal until the tool has read those before. */
	p[POLL_STDIN] = (struct pollfd){t->raw && t->stdin_open && !t->n_typed ? STDIN_FILENO : -1,
					POLLIN, 0};
	relay_wanted(&s->relay, p + POLL_RELAY);
}

/* What happened, in the order that matters: output before the end, a signal before the wait goes on. */
static int handle_events(struct session *s, const struct pollfd p[POLL_COUNT],
			 struct json_object **ret, struct error *err)
{
	int r = 0;

	if (p[POLL_PTY].revents & POLLIN)
		terminal_show(&s->term);
	if (p[POLL_STDIN].revents || p[POLL_PTY].revents & POLLOUT)
		terminal_type(&s->term);
	relay_copy(&s->relay, p + POLL_RELAY);
	if (p[POLL_CONTROL].revents)
		read_control(s);
	if (p[POLL_LINK].revents)
		r = read_replies(s, ret, err);
	if (r == 0 && p[POLL_SIGNALS].revents)
		r = read_signals(s);
	return r;
}

int session_run(struct session *s, struct json_object *params, enum session_streams streams,
		struct json_object **ret, struct error *err)
{
	struct pollfd p[POLL_COUNT];
	struct error ignored;
	int r = begin(s, params, streams, err);

	while (r == 0) {
		wanted_events(s, p);
		if (poll(p, POLL_COUNT, s->lost ? REJOIN_POLL : -1) < 0 && errno != EINTR)
			return error_sys(err, errno, "cannot wait for recapd");
		r = handle_events(s, p, ret, err);
		if (r == 0 && s->lost)
			r = rejoin(s, err);
	}
	/* A tool that ended at once was not announced; what it wrote is to look the same all the same. */
	if (r == 1 && terminal_raw(&s->term, &ignored) < 0)
		ctl_warn("what follows may look wrong: %s", ignored.msg);
	terminal_show(&s->term);
	terminal_restore(&s->term);
	relay_passed(&s->relay);
	relay_finish(&s->relay);
	return r < 0 ? r : 0;
}
