// SPDX-License-Identifier: MIT
#include "core/history.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "common/log.h"

#define FILE_NAME "history.jsonl"
#define FILE_OLD  "history.jsonl.1"
#define FILE_MAX  (4 << 20)

struct item {
	char id[16];
	char *text;
};

struct history {
	int state_dir, log_dir, file;
	struct item ring[HISTORY_MAX];
	size_t next, n;
	bool complained;
};

static void remove_log(struct history *h, const char *id)
{
	char name[32];

	snprintf(name, sizeof(name), "%s.log", id);
	if (unlinkat(h->log_dir, name, 0) < 0 && errno != ENOENT)
		log_warn("ignoring that %s cannot be removed: %s", name, strerror(errno));
}

static void remember(struct history *h, const char *id, const char *text)
{
	struct item *it = &h->ring[h->next];

	if (it->text)
		remove_log(h, it->id);
	free(it->text);
	snprintf(it->id, sizeof(it->id), "%s", id);
	it->text = strdup(text);
	h->next = (h->next + 1) % HISTORY_MAX;
	if (h->n < HISTORY_MAX)
		h->n++;
}

/* IDs are ours, but the file is a file: a name of a log must not lead anywhere else. */
static bool good_id(const char *id)
{
	return id && strlen(id) == 12 && strspn(id, "0123456789abcdef") == 12;
}

static void load_line(struct history *h, const char *line, size_t len)
{
	cleanup_json struct json_object *o = NULL;
	const char *id;

	if (json_parse(line, len, "history", &o, NULL) < 0)
		return; /* cut off by a full disk or a crash */
	id = json_get_str(o, "id");
	if (good_id(id))
		remember(h, id,
			 json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void load(struct history *h, const char *name)
{
	cleanup_free char *text = NULL;
	char *line, *end;
	size_t len;

	if (fd_read_file(h->state_dir, name, FILE_MAX * 2, &text, &len) < 0)
		return;
	/* Only the last HISTORY_MAX lines are wanted: find where they start. */
	line = text + len;
	for (int lines = 0; line > text; line--)
		if (line[-1] == '\n' && line != text + len && ++lines == HISTORY_MAX)
			break;
	for (; (end = strchr(line, '\n')); line = end + 1)
		load_line(h, line, end - line);
}

static int open_file(struct history *h)
{
	h->file = openat(h->state_dir, FILE_NAME,
			 O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return h->file < 0 ? -errno : 0;
}

/*
 * SIGKILL may end a write(2) at a page's end (generic_perform_write()): what is behind the last newline is the start of a record
 * that is going to be added once more, and must not spoil it.
 */
static int cut_torn_line(struct history *h)
{
	off_t size = lseek(h->file, 0, SEEK_END), end = size;
	char last = '\n';

	while (end > 0 && pread(h->file, &last, 1, end - 1) == 1 && last != '\n')
		end--;
	return end < size && ftruncate(h->file, end) < 0 ? -errno : 0;
}

void history_sweep_logs(struct history *h, bool (*keep)(const char *id, void *arg), void *arg)
{
	int fd = openat(h->log_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char id[13] = {};

		if (strlen(e->d_name) != 16 || strcmp(e->d_name + 12, ".log"))
			continue;
		memcpy(id, e->d_name, 12);
		if (good_id(id) && history_find(h, id, NULL, NULL) == -ENOENT && !keep(id, arg))
			remove_log(h, id);
	}
	if (fd >= 0 && !d)
		close(fd);
}

int history_open(int state_dir, int log_dir, struct history **ret, struct error *err)
{
	struct history *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return error_set(err, ENOMEM, "out of memory");
	h->state_dir = state_dir;
	h->log_dir = log_dir;
	/* The old one, too: a client may come back for what was written just before the file was changed. */
	load(h, FILE_OLD);
	load(h, FILE_NAME);
	r = open_file(h);
	if (r == 0)
		r = cut_torn_line(h);
	if (r < 0) {
		history_close(h);
		return error_sys(err, -r, "cannot open %s in the state folder", FILE_NAME);
	}
	*ret = h;
	return 0;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < HISTORY_MAX; i++)
		free(h->ring[i].text);
	fd_close(h->file);
	free(h);
}

static void rotate(struct history *h)
{
	struct stat st;

	if (fstat(h->file, &st) < 0 || st.st_size < FILE_MAX)
		return;
	if (renameat(h->state_dir, FILE_NAME, h->state_dir, FILE_OLD) < 0)
		return;
	h->file = fd_close(h->file);
	if (open_file(h) < 0)
		log_warn("cannot start a new %s", FILE_NAME);
}

void history_add(struct history *h, struct json_object *record)
{
	const char *text = json_object_to_json_string_ext(
		record, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	const char *id = json_get_str(record, "id");
	cleanup_free char *line = NULL;
	int len = asprintf(&line, "%s\n", text);

	remember(h, id, text);
	rotate(h);
	if (len > 0 && h->file >= 0 && fd_write_all(h->file, line, len) < 0 && !h->complained) {
		log_warn("the history file cannot be written: %s", strerror(errno));
		h->complained = true;
	}
}

static struct item *nth_newest(struct history *h, size_t i)
{
	return &h->ring[(h->next + HISTORY_MAX - 1 - i) % HISTORY_MAX];
}

int history_find(struct history *h, const char *id, const char **ret_id, const char **ret_text)
{
	struct item *found = NULL;

	for (size_t i = 0; i < h->n && *id; i++) {
		struct item *it = nth_newest(h, i);

		if (strncmp(it->id, id, strlen(id)))
			continue;
		if (found)
			return -ENOTUNIQ;
		found = it;
	}
	if (!found || !found->text)
		return -ENOENT;
	if (ret_id)
		*ret_id = found->id;
	if (ret_text)
		*ret_text = found->text;
	return 0;
}

/* Members as they stand in a record. A quote within a string would be escaped: so they are these, and nothing else. */
struct wanted {
	char token[64], caller[64];
};

static bool fits(const char *record, const struct wanted *w)
{
	return strstr(record, w->token) && strstr(record, w->caller);
}

static int copy(const char *record, char **ret)
{
	*ret = strdup(record);
	return *ret ? 0 : -ENOMEM;
}

/* The whole line of the file that fits; the last, as the newest. -ENOENT: there is none. */
static int find_line(struct history *h, const char *file, const struct wanted *w, char **ret)
{
	cleanup_free char *text = NULL;
	char *found = NULL, *line, *end;
	size_t len;
	int r = fd_read_file(h->state_dir, file, FILE_MAX * 2, &text, &len);

	if (r < 0)
		return r;
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (fits(line, w))
			found = line;
	}
	return found ? copy(found, ret) : -ENOENT;
}

int history_find_token(struct history *h, const char *token, uint32_t uid, char **ret)
{
	struct wanted wanted;
	int r;

	snprintf(wanted.token, sizeof(wanted.token), "\"token\":\"%s\"", token);
	snprintf(wanted.caller, sizeof(wanted.caller), "\"caller\":{\"uid\":%u,", uid);
	for (size_t i = 0; i < h->n; i++) {
		const char *text = nth_newest(h, i)->text;

		if (text && fits(text, &wanted))
			return copy(text, ret);
	}
	r = find_line(h, FILE_NAME, &wanted, ret);
	return r == -ENOENT ? find_line(h, FILE_OLD, &wanted, ret) : r;
}

void history_each(struct history *h, void (*fn)(const char *text, void *arg), void *arg)
{
	for (size_t i = 0; i < h->n; i++)
		if (nth_newest(h, i)->text)
			fn(nth_newest(h, i)->text, arg);
}
