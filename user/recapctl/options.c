// SPDX-License-Identifier: MIT
/* Tables of options: one table gives the parser, the help and the check of the manual page. */
#include "recapctl/recapctl.h"

#include <getopt.h>
#include <string.h>

#define OPTIONS_MAX 32

static bool is_flag(const struct opt *opt)
{
	return !opt->arg;
}

static void print_option(const struct opt *opt)
{
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s", opt->letter ? '-' : ' ',
		 opt->letter ? opt->letter : ' ', opt->letter ? ", " : "  ", opt->name,
		 is_flag(opt) ? "" : " ", is_flag(opt) ? "" : opt->arg);
	printf("  %-32s %s\n", left, opt->help);
}

static void print_help(const struct ctl *ctl, const struct opt *opts)
{
	const struct verb *verb = ctl->verb;

	printf("Usage: recapctl %s%s[OPTION...]%s%s\n\n%s\n\nOptions:\n", verb->name,
	       *verb->name ? " " : "", *verb->operands ? " " : "", verb->operands, verb->summary);
	for (; opts->name; opts++)
		print_option(opts);
}

/* What getopt_long(3) wants to have; the value of an option is its index and 256. */
struct getopt_table {
	char letters[2 * OPTIONS_MAX + 3];
	struct option longs[OPTIONS_MAX + 1];
	struct opt opts[OPTIONS_MAX + 1];
	int n;
};

static void add_option(struct getopt_table *t, const struct opt *opt)
{
	size_t end = strlen(t->letters);
	int has_arg = is_flag(opt) ? no_argument : required_argument;

	if (t->n == OPTIONS_MAX)
		abort();
	t->longs[t->n] = (struct option){opt->name, has_arg, NULL, 256 + t->n};
	t->opts[t->n++] = *opt;
	if (!opt->letter)
		return;
	t->letters[end] = opt->letter;
	t->letters[end + 1] = is_flag(opt) ? '\0' : ':';
}

static const struct opt *find_option(const struct getopt_table *t, int c)
{
	if (c >= 256)
		return &t->opts[c - 256];
	for (int i = 0; i < t->n; i++)
		if (t->opts[i].letter == c)
			return &t->opts[i];
	return NULL;
}

/* getopt_long(3) does not tell an option that there is not from the start of several. */
static bool is_ambiguous(const struct getopt_table *t, const char *name)
{
	size_t len = strcspn(name + 2, "=");
	int n = 0;

	for (int i = 0; i < t->n; i++)
		n += !strncmp(t->longs[i].name, name + 2, len);
	return n > 1;
}

static int bad_option(const struct ctl *ctl, const struct getopt_table *t, int c, char **argv)
{
	char letter[3] = {'-', (char)optopt, '\0'};
	/* For a letter, optind may still point at the cluster of letters that it is in. */
	bool is_letter = optopt && optopt < 256;
	const char *name = is_letter ? letter : argv[optind - 1];

	if (c == ':')
		return ctl_usage(ctl, "option '%s' needs a value", name);
	if (optopt >= 256)
		return ctl_usage(ctl, "option '%s' takes no value", name);
	if (!is_letter && is_ambiguous(t, name))
		return ctl_usage(ctl, "option '%s' is short for several", name);
	return ctl_usage(ctl, "there is no option '%s'", name);
}

static int parse_all(struct ctl *ctl, const struct getopt_table *t, int argc, char **argv,
		     int *ret_status)
{
	struct error err;
	int c;

	optind = 0; /* start over: a GNU extension, getopt(3) */
	opterr = 0;
	while ((c = getopt_long(argc, argv, t->letters, t->longs, NULL)) != -1) {
		const struct opt *opt = c == '?' || c == ':' ? NULL : find_option(t, c);

		if (!opt) {
			*ret_status = bad_option(ctl, t, c, argv);
			return -1;
		}
		if (opt->take(opt, is_flag(opt) ? NULL : optarg, &err) < 0) {
			*ret_status = ctl_usage(ctl, "%s", err.msg);
			return -1;
		}
	}
	return optind;
}

int opt_parse(struct ctl *ctl, const struct opt *opts, bool in_order, int argc, char **argv,
	      int *ret_status)
{
	bool help = false;
	const struct opt common[] = {
		{0, "socket", "PATH", "recapd's socket, " CTL_SOCKET " if not given", opt_string,
		 &ctl->socket},
		{'h', "help", NULL, "this text", opt_flag, &help},
		{},
	};
	struct getopt_table t = {};
	int i;

	strcpy(t.letters, in_order ? "+:" : ":");
	for (const struct opt *o = opts; o->name; o++)
		add_option(&t, o);
	for (const struct opt *o = common; o->name; o++)
		add_option(&t, o);
	i = parse_all(ctl, &t, argc, argv, ret_status);
	if (i < 0 || !help)
		return i;
	print_help(ctl, t.opts);
	*ret_status = ctl_finish(ctl, CTL_OK);
	return -1;
}

/* ---- values ---------------------------------------------------------------------------------- */

int opt_flag(const struct opt *opt, const char *value, struct error *err)
{
	*(bool *)opt->dest = true;
	return 0;
}

int opt_string(const struct opt *opt, const char *value, struct error *err)
{
	*(const char **)opt->dest = value;
	return 0;
}

int opt_member(const struct opt *opt, const char *value, struct error *err)
{
	json_put_str(opt->dest, opt->key, value);
	return 0;
}

int opt_true(const struct opt *opt, const char *value, struct error *err)
{
	json_put_bool(opt->dest, opt->key, true);
	return 0;
}

int opt_choice(const struct opt *opt, const char *value, struct error *err)
{
	size_t len = strlen(value);

	for (const char *p = opt->arg; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (len && !strncmp(p, value, len) && (p[len] == '|' || !p[len]))
			return opt_member(opt, value, err);
	return error_set(err, EINVAL, "--%s is one of %s, not '%s'", opt->name, opt->arg, value);
}

static void append(const struct opt *opt, const char *value, size_t len)
{
	struct json_object *list = json_get(opt->dest, opt->key, json_type_array);

	if (!list) {
		list = json_object_new_array();
		json_put_obj(opt->dest, opt->key, list);
	}
	if (json_object_array_add(list, json_object_new_string_len(value, (int)len)) < 0)
		abort();
}

int opt_repeat(const struct opt *opt, const char *value, struct error *err)
{
	append(opt, value, strlen(value));
	return 0;
}

int opt_commas(const struct opt *opt, const char *value, struct error *err)
{
	for (;;) {
		size_t n = strcspn(value, ",");

		if (!n)
			return error_set(err, EINVAL, "--%s has an empty item", opt->name);
		append(opt, value, n);
		if (!value[n])
			return 0;
		value += n + 1;
	}
}

/* As docker: a name alone takes the value from our own environment, and nothing when it is not there. */
int opt_env(const struct opt *opt, const char *value, struct error *err)
{
	cleanup_free char *pair = NULL;
	const char *own;

	if (!*value || *value == '=')
		return error_set(err, EINVAL, "--%s needs KEY=VALUE or KEY, not '%s'", opt->name,
				 value);
	if (strchr(value, '='))
		return opt_repeat(opt, value, err);
	own = getenv(value);
	if (!own)
		return 0;
	if (asprintf(&pair, "%s=%s", value, own) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return opt_repeat(opt, pair, err);
}

int opt_pair(const struct opt *opt, const char *value, struct error *err)
{
	const char *eq = strchr(value, '=');

	if (!eq || eq == value)
		return error_set(err, EINVAL, "--%s needs KEY=VALUE, not '%s'", opt->name, value);
	return opt_repeat(opt, value, err);
}

/* Decimal digits at *p, which moves behind them. -1: none, or too many. */
static int64_t digits(const char **p)
{
	int64_t v = 0;
	const char *start = *p;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (*p - start == 17)
			return -1;
		v = v * 10 + (**p - '0');
	}
	return *p == start ? -1 : v;
}

static int put_number(const struct opt *opt, int64_t v)
{
	json_put_int(opt->dest, opt->key, v);
	return 0;
}

int opt_number(const struct opt *opt, const char *value, struct error *err)
{
	const char *p = value;
	int64_t v = digits(&p);

	if (v < opt->min || v > opt->max || *p)
		return error_set(err, EINVAL, "--%s is a number from %lld to %lld, not '%s'",
				 opt->name, (long long)opt->min, (long long)opt->max, value);
	return put_number(opt, v);
}

/* Binary units as in docker: b, k, m, g, in either case. -1: it is no size. */
static int64_t size_of(const char *value)
{
	static const char units[] = "bkmg";
	const char *p = value, *unit;
	int64_t v = digits(&p);
	int shift = 0;

	if (v > 0 && *p) {
		unit = strchr(units, *p | 0x20);
		shift = unit ? 10 * (int)(unit - units) : -1;
		p++;
	}
	return v < 1 || shift < 0 || *p || v > INT64_MAX >> shift ? -1 : v << shift;
}

/* As one would type it: in the largest unit that needs no fraction. */
static void format_exact(int64_t v, char ret[static 24])
{
	static const char units[] = "bkmg";
	int i = 0;

	while (i < 3 && v % 1024 == 0) {
		v /= 1024;
		i++;
	}
	snprintf(ret, 24, "%lld%c", (long long)v, units[i]);
}

int opt_size(const struct opt *opt, const char *value, struct error *err)
{
	int64_t v = size_of(value);
	char least[24], most[24];

	format_exact(opt->min, least);
	format_exact(opt->max, most);
	if (v < opt->min || (opt->max && v > opt->max))
		return error_set(err, EINVAL,
				 "--%s is a size such as 64m or 1g, %s at least%s%s, not '%s'",
				 opt->name, least, opt->max ? " and at most " : "",
				 opt->max ? most : "", value);
	return put_number(opt, v);
}

/* "0.5", "2", ".25": thousandths are the finest, of which `min` and `max` count. */
int opt_milli(const struct opt *opt, const char *value, struct error *err)
{
	const char *p = value;
	int64_t whole = *p == '.' ? 0 : digits(&p), milli = 0;

	if (*p == '.' && *++p) {
		for (int64_t unit = 100; unit && *p >= '0' && *p <= '9'; unit /= 10)
			milli += unit * (*p++ - '0');
	}
	if (whole < 0 || whole > opt->max || *p || whole * 1000 + milli < opt->min ||
	    whole * 1000 + milli > opt->max)
		return error_set(
			err, EINVAL, "--%s is a number such as 0.5 or 2, from %g to %g, not '%s'",
			opt->name, (double)opt->min / 1000, (double)opt->max / 1000, value);
	return put_number(opt, whole * 1000 + milli);
}
