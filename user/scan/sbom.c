// SPDX-License-Identifier: MIT
/* CycloneDX 1.5 with package URLs (github.com/package-url/purl-spec). */
#include <ctype.h>
#include <string.h>

#include "scan/packages.h"

#define ENCODED_MAX (3 * PACKAGES_STRING_MAX + 1)

/* All but what is unreserved in a URL. */
static void encode(const char *s, char ret[ENCODED_MAX])
{
	size_t n = 0;

	for (; *s && n + 4 < ENCODED_MAX; s++) {
		unsigned char c = *s;

		if (c < 0x80 && (isalnum(c) || strchr("-._~", c)))
			ret[n++] = (char)c;
		else
			n += sprintf(ret + n, "%%%02X", c);
	}
	ret[n] = '\0';
}

struct purl {
	char text[4 * ENCODED_MAX + 512];
};

static void make_purl(const struct packages *p, const struct package *one, struct purl *ret)
{
	static const char *const types[] = {"deb", "apk", "rpm"};
	static const char *const fallback[] = {"debian", "alpine", "redhat"};
	char name[ENCODED_MAX], version[ENCODED_MAX], arch[ENCODED_MAX], id[ENCODED_MAX];
	char release[ENCODED_MAX], epoch[24] = "";
	const char *v = one->version, *colon = strchr(v, ':');
	size_t n;

	/* An rpm's epoch is a qualifier. */
	if (one->kind == PACKAGE_RPM && colon && colon - v < 11) {
		snprintf(epoch, sizeof(epoch), "&epoch=%.*s", (int)(colon - v), v);
		v = colon + 1;
	}
	encode(one->name, name);
	encode(v, version);
	encode(one->arch, arch);
	encode(p->id[0] ? p->id : fallback[one->kind], id);
	encode(p->version_id, release);
	n = snprintf(ret->text, sizeof(ret->text), "pkg:%s/%s/%s@%s", types[one->kind], id, name,
		     version);
	if (*arch)
		n += snprintf(ret->text + n, sizeof(ret->text) - n, "?arch=%s", arch);
	if (*epoch)
		n += snprintf(ret->text + n, sizeof(ret->text) - n, "%c%s",
			      strchr(ret->text, '?') ? '&' : '?', epoch + 1);
	if (*release)
		snprintf(ret->text + n, sizeof(ret->text) - n, "%cdistro=%s-%s",
			 strchr(ret->text, '?') ? '&' : '?', id, release);
}

static struct json_object *component(const char *type, const char *name, const char *version)
{
	struct json_object *o = json_object_new_object();

	json_put_str(o, "type", type);
	json_put_foreign(o, "name", name, PACKAGES_STRING_MAX);
	if (version && *version)
		json_put_foreign(o, "version", version, PACKAGES_STRING_MAX);
	return o;
}

static struct json_object *metadata(const char *ref, const char *digest)
{
	struct json_object *o = json_object_new_object(), *tools = json_object_new_object();
	struct json_object *list = json_object_new_array();

	json_object_array_add(list, component("application", "recap-scan", RECAP_VERSION));
	json_put_obj(tools, "components", list);
	json_put_obj(o, "tools", tools);
	json_put_obj(o, "component", component("container", ref, digest));
	return o;
}

struct json_object *packages_sbom(const struct packages *p, const char *ref, const char *digest)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct purl *purl = malloc(sizeof(*purl));

	if (!purl)
		abort();
	json_put_str(o, "bomFormat", "CycloneDX");
	json_put_str(o, "specVersion", "1.5");
	json_put_int(o, "version", 1);
	json_put_obj(o, "metadata", metadata(ref, digest));
	if (p->id[0])
		json_object_array_add(list, component("operating-system", p->id, p->version_id));
	for (size_t i = 0; i < p->n; i++) {
		struct json_object *c = component("library", p->v[i].name, p->v[i].version);

		make_purl(p, &p->v[i], purl);
		json_put_str(c, "purl", purl->text);
		json_object_array_add(list, c);
	}
	json_put_obj(o, "components", list);
	free(purl);
	return o;
}
