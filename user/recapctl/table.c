// SPDX-License-Identifier: MIT
#include "recapctl/recapctl.h"

#include <stdarg.h>
#include <string.h>

void table_init(struct table *t, const char *const *head)
{
	*t = (struct table){.head = head};
	while (head[t->columns])
		t->columns++;
	if (t->columns > TABLE_COLUMNS_MAX)
		abort();
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->n = t->size = 0;
}

void table_add(struct table *t, const char *text)
{
	char *cell = strdup(text && *text ? text : "-");

	if (t->n == t->size) {
		t->size = t->size ? 2 * t->size : 64;
		t->cells = reallocarray(t->cells, t->size, sizeof(*t->cells));
	}
	if (!cell || !t->cells)
		abort(); /* as json-c does, out of which all of this comes */
	text_clean(cell);
	t->cells[t->n++] = cell;
}

void table_addf(struct table *t, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	table_add(t, text);
}

/* In characters: continuation bytes of UTF-8 take no room. */
static unsigned int width_of(const char *s)
{
	unsigned int n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void print_cell(const struct table *t, unsigned int col, unsigned int width,
		       const char *text, FILE *to)
{
	int pad = (int)(width - width_of(text));
	bool right = t->head[col][0] == '>', last = col + 1 == t->columns;

	fprintf(to, "%*s%s%*s%s", right ? pad : 0, "", text, right || last ? 0 : pad, "",
		last ? "\n" : "  ");
}

void table_print(const struct table *t, FILE *to)
{
	unsigned int width[TABLE_COLUMNS_MAX];

	for (unsigned int c = 0; c < t->columns; c++)
		width[c] = width_of(t->head[c] + (t->head[c][0] == '>'));
	for (size_t i = 0; i < t->n; i++) {
		unsigned int w = width_of(t->cells[i]), c = i % t->columns;

		if (w > width[c])
			width[c] = w;
	}
	for (unsigned int c = 0; c < t->columns; c++)
		print_cell(t, c, width[c], t->head[c] + (t->head[c][0] == '>'), to);
	for (size_t i = 0; i < t->n; i++)
		print_cell(t, i % t->columns, width[i % t->columns], t->cells[i], to);
}
