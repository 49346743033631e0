// SPDX-License-Identifier: MIT
/* Layouts, their documents and archives of them: what is taken, and what is refused without a trace. */
#include "image_fixture.h"

#include <sys/utsname.h>

#define INDEX	 "application/vnd.oci.image.index.v1+json"
#define MANIFEST "application/vnd.oci.image.manifest.v1+json"

static void add_layer(struct fixture *f, const char *name, const char *media)
{
	struct tarball t;

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, name, "content");
	layout_layer(&f->l, &t, media);
}

static struct json_object *layer_at(struct fixture *f, size_t i)
{
	return json_object_array_get_idx(f->l.layers, i);
}

static void expect_found(struct fixture *f, const char *ref, const char *found_ref)
{
	cleanup_image struct image *image = NULL;
	struct error err = {};

	if (image_find(f->store, ref, &image, &err) < 0)
		fail_msg("image_find: %s", err.msg);
	assert_string_equal(image->ref, found_ref);
}

/* ---- layouts that are taken ---- */

static void test_layers_of_all_kinds(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_image struct image *image = NULL;

	add_layer(f, "one", GZIP);
	add_layer(f, "two", ZSTD);
	add_layer(f, "three", PLAIN);
	json_object_array_add(f->l.layers, json_object_get(layer_at(f, 0)));
	json_object_array_add(f->l.diff_ids,
			      json_object_get(json_object_array_get_idx(f->l.diff_ids, 0)));
	layout_image(&f->l, "kinds:1");
	expect_loaded(f, NULL);
	assert_int_equal(image_find(f->store, "kinds:1", &image, NULL), 0);
	/* The first layer comes twice, and only its upper place counts. */
	assert_int_equal(image->n_layers, 3);
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = {"one", "three", "two"};
		char path[64];

		snprintf(path, sizeof(path), "%s/%s", image->layers[i], names[i]);
		assert_int_equal(faccessat(image_store_layers_fd(f->store), path, F_OK, 0), 0);
	}
}

/* Detection goes by the bytes: registries are full of media types that lie about compression. */
static void test_compression_is_detected(void **state)
{
	struct fixture *f = FIXTURE(state);

	add_layer(f, "one", ZSTD);
	json_put_str(layer_at(f, 0), "mediaType", GZIP);
	layout_image(&f->l, "lie:1");
	expect_loaded(f, NULL);
}

static void test_docker_media_types(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct json_object *desc;

	add_layer(f, "one", GZIP);
	json_put_str(layer_at(f, 0), "mediaType",
		     "application/vnd.docker.image.rootfs.diff.tar.gzip");
	json_put_str(f->l.manifest, "mediaType",
		     "application/vnd.docker.distribution.manifest.v2+json");
	desc = layout_manifest(&f->l);
	json_put_str(desc, "mediaType", "application/vnd.docker.distribution.manifest.v2+json");
	annotate(desc, "io.containerd.image.name", "host.example:5000/tool:3");
	annotate(desc, "org.opencontainers.image.ref.name", "3");
	json_object_array_add(f->l.manifests, desc);
	layout_write_index(&f->l);
	expect_loaded(f, NULL);
	expect_found(f, "host.example:5000/tool:3", "host.example:5000/tool:3");
}

static struct json_object *parse(const char *text)
{
	struct json_object *obj = NULL;

	assert_int_equal(json_parse(text, strlen(text), "text", &obj, NULL), 0);
	return obj;
}

static void test_config(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_image struct image *image = NULL;
	struct json_object *config =
		parse("{\"Entrypoint\":[\"/bin/x\",\"-v\"],\"Cmd\":null,\"Env\":[\"A=b=c\",\"B=\"],"
		      "\"User\":\"1:2\",\"WorkingDir\":\"/srv\",\"Labels\":{\"x\":\"y\"}}");

	add_layer(f, "one", GZIP);
	json_put_obj(f->l.config, "config", config);
	layout_image(&f->l, "config:1");
	expect_loaded(f, NULL);
	assert_int_equal(image_find(f->store, "config:1", &image, NULL), 0);
	assert_int_equal(strv_len(image->entrypoint), 2);
	assert_string_equal(image->entrypoint[1], "-v");
	assert_int_equal(strv_len(image->cmd), 0);
	assert_int_equal(strv_len(image->env), 2);
	assert_string_equal(image->env[0], "A=b=c");
	assert_string_equal(image->workdir, "/srv");
	assert_string_equal(image->user, "1:2");
	assert_int_equal(json_object_object_length(image->labels), 1);
	assert_string_equal(json_get_str(image->labels, "x"), "y");
}

static void test_no_labels(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_image struct image *image = NULL;

	assert_int_equal(image_find(f->store, "base:1", &image, NULL), 0);
	assert_int_equal(json_object_object_length(image->labels), 0);
}

static const char *our_arch(void)
{
	static struct utsname u;

	assert_int_equal(uname(&u), 0);
	if (!strcmp(u.machine, "x86_64"))
		return "amd64";
	return strcmp(u.machine, "aarch64") ? u.machine : "arm64";
}

static struct json_object *for_platform(struct json_object *desc, const char *arch)
{
	struct json_object *platform = json_object_new_object();

	json_put_str(platform, "os", "linux");
	json_put_str(platform, "architecture", arch);
	json_put_obj(desc, "platform", platform);
	return desc;
}

/* An index of `entries`, as a blob; takes them over. */
static struct json_object *nested_index(struct fixture *f, struct json_object *entries)
{
	cleanup_json struct json_object *doc = json_object_new_object();

	json_put_int(doc, "schemaVersion", 2);
	json_put_str(doc, "mediaType", INDEX);
	json_put_obj(doc, "manifests", entries);
	return layout_json(&f->l, INDEX, doc);
}

static void put_index(struct fixture *f, struct json_object *desc, const char *name)
{
	annotate(desc, "org.opencontainers.image.ref.name", name);
	json_object_array_add(f->l.manifests, desc);
	layout_write_index(&f->l);
}

static void test_many_platforms(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct json_object *entries = json_object_new_array(), *other;
	cleanup_image struct image *image = NULL;
	char path[64];

	add_layer(f, "foreign", GZIP);
	json_object_array_add(entries, for_platform(layout_manifest(&f->l), "mips"));
	add_layer(f, "newer", GZIP);
	other = for_platform(layout_manifest(&f->l), our_arch());
	json_put_str(json_get(other, "platform", json_type_object), "variant", "v99");
	json_object_array_add(entries, other);
	add_layer(f, "windows", GZIP);
	other = for_platform(layout_manifest(&f->l), our_arch());
	json_put_str(json_get(other, "platform", json_type_object), "os", "windows");
	json_object_array_add(entries, other);
	add_layer(f, "ours", GZIP);
	json_object_array_add(entries, for_platform(layout_manifest(&f->l), our_arch()));
	put_index(f, nested_index(f, entries), "multi:1");
	expect_loaded(f, NULL);
	assert_int_equal(image_find(f->store, "multi:1", &image, NULL), 0);
	snprintf(path, sizeof(path), "%s/ours", image->layers[0]);
	assert_int_equal(faccessat(image_store_layers_fd(f->store), path, F_OK, 0), 0);
}

static void test_other_platforms_only(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct json_object *entries = json_object_new_array();

	add_layer(f, "foreign", GZIP);
	json_object_array_add(entries, for_platform(layout_manifest(&f->l), "mips"));
	put_index(f, nested_index(f, entries), "multi:1");
	expect_refused(f, "no image for this machine");

	new_layout(f);
	add_layer(f, "foreign", GZIP);
	put_index(f, for_platform(layout_manifest(&f->l), "mips"), "multi:1");
	expect_refused(f, "no image for this machine");

	new_layout(f);
	add_layer(f, "foreign", GZIP);
	json_put_str(f->l.config, "architecture", "mips");
	layout_image(&f->l, "multi:1");
	expect_refused(f, "it is for linux/mips,");

	new_layout(f);
	add_layer(f, "newer", GZIP);
	json_put_str(f->l.config, "architecture", our_arch());
	json_put_str(f->l.config, "variant", "v99");
	layout_image(&f->l, "multi:1");
	expect_refused(f, "/v99, and this machine");
}

static void test_names(void **state)
{
	struct fixture *f = FIXTURE(state);

	add_layer(f, "one", GZIP);
	layout_image(&f->l, "busybox");
	add_layer(f, "two", GZIP);
	layout_image(&f->l, "host/tool:2");
	expect_loaded(f, NULL);
	expect_found(f, "busybox", "busybox:latest");
	expect_found(f, "host/tool:2", "host/tool:2");
}

static void test_names_missing(void **state)
{
	static const char *const tags[] = {"latest", "1", "1.36-musl", "v2.0"};
	struct fixture *f = FIXTURE(state);

	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		add_layer(f, "one", GZIP);
		layout_image(&f->l, tags[i]);
		expect_refused(f, "which is a tag and no name");
		new_layout(f);
	}
	add_layer(f, "one", GZIP);
	layout_image(&f->l, "No Name");
	expect_refused(f, "is no image reference");
	new_layout(f);
	add_layer(f, "one", GZIP);
	layout_image(&f->l, NULL);
	expect_refused(f, "no name: load it with a name");
	expect_loaded(f, "given:7");
	expect_found(f, "given:7", "given:7");
}

static void test_given_name_must_fit(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct error err;

	add_layer(f, "one", GZIP);
	layout_image(&f->l, "a:1");
	assert_true(load_fd(f, f->l.dir, "Bad Name", &err) < 0);
	assert_string_equal(err.name, "InvalidArgument");
	add_layer(f, "two", GZIP);
	layout_image(&f->l, "b:1");
	assert_true(load_fd(f, f->l.dir, "given", &err) < 0);
	assert_non_null(strstr(err.msg, "holds 2 images"));
	assert_unchanged(f);
}

static void test_two_images_of_one_name(void **state)
{
	struct fixture *f = FIXTURE(state);

	add_layer(f, "one", GZIP);
	layout_image(&f->l, "a:1");
	add_layer(f, "two", GZIP);
	layout_image(&f->l, "a:1");
	expect_refused(f, "calls two images \"a:1\"");
}

/* ---- documents that lie ---- */

static void test_wrong_digest(void **state)
{
	struct fixture *f = FIXTURE(state);
	char path[128], text[4096] = "";
	size_t len;

	add_layer(f, "one", PLAIN);
	blob_path(json_get_str(layer_at(f, 0), "digest"), path);
	len = (size_t)json_get_int(layer_at(f, 0), "size", 0);
	layout_image(&f->l, "a:1");
	assert_true(len > 600);
	/* A byte of the content, whose size stays. */
	{
		cleanup_fd int fd = openat(f->l.dir, path, O_RDWR | O_CLOEXEC);

		assert_int_equal(pwrite(fd, "C", 1, 512), 1);
	}
	expect_refused(f, "is damaged: its digest is");

	/* Of a layer that is in the store, too: it would not be unpacked. */
	new_layout(f);
	add_layer(f, "one", PLAIN);
	write_file(f->l.dir, path, text, 0);
	layout_image(&f->l, "a:1");
	expect_refused(f, "bytes where");
}

static void test_damaged_copy_of_a_layer_in_the_store(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_fd int fd = -1;
	struct error err;
	char path[128];

	add_layer(f, "one", PLAIN);
	layout_image(&f->l, "a:1");
	expect_loaded(f, NULL);
	free(f->before);
	f->before = listing(f);
	new_layout(f);
	add_layer(f, "one", PLAIN);
	blob_path(json_get_str(layer_at(f, 0), "digest"), path);
	json_put_str(f->l.config, "created", "2025-01-01T00:00:00Z");
	layout_image(&f->l, "b:1");
	fd = openat(f->l.dir, path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "C", 1, 512), 1);
	expect_refused(f, "is damaged: its digest is");
	assert_int_equal(pwrite(fd, "c", 1, 512), 1);
	assert_int_equal(load_fd(f, f->l.dir, NULL, &err), 0);
}

static void test_wrong_diff_id(void **state)
{
	struct fixture *f = FIXTURE(state);

	add_layer(f, "one", GZIP);
	json_object_array_put_idx(f->l.diff_ids, 0,
				  json_object_new_string("sha256:0123456789abcdef0123456789abcdef"
							 "0123456789abcdef0123456789abcdef"));
	layout_image(&f->l, "a:1");
	expect_refused(f, "its diff ID is");
}

/* The same first 16 digits as a layer of the store: another one all the same. */
static void test_diff_id_collision(void **state)
{
	struct fixture *f = FIXTURE(state);
	char digest[DIGEST_SIZE];

	add_layer(f, "one", GZIP);
	strcpy(digest, json_object_get_string(json_object_array_get_idx(f->l.diff_ids, 0)));
	layout_image(&f->l, "a:1");
	expect_loaded(f, NULL);
	free(f->before);
	f->before = listing(f);
	new_layout(f);
	add_layer(f, "one", GZIP);
	digest[70] = digest[70] == '0' ? '1' : '0';
	json_object_array_put_idx(f->l.diff_ids, 0, json_object_new_string(digest));
	layout_image(&f->l, "b:1");
	expect_refused(f, "collides with");
}

static void test_truncated_blob(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_fd int fd = -1;
	char path[128];

	add_layer(f, "one", GZIP);
	blob_path(json_get_str(layer_at(f, 0), "digest"), path);
	layout_image(&f->l, "a:1");
	fd = openat(f->l.dir, path, O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 20), 0);
	expect_refused(f, "has 20 bytes where");
	assert_int_equal(unlinkat(f->l.dir, path, 0), 0);
	expect_refused(f, "is missing from the layout");
}

static void test_hostile_numbers(void **state)
{
	static const int64_t sizes[] = {-1, 0, INT64_MIN, INT64_MAX};
	static const char *const needles[] = {"not positive", "not positive", "not positive",
					      "bytes where 9223372036854775807"};
	struct fixture *f = FIXTURE(state);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		add_layer(f, "one", GZIP);
		json_put_int(layer_at(f, 0), "size", sizes[i]);
		layout_image(&f->l, "a:1");
		expect_refused(f, needles[i]);
		new_layout(f);
	}
	add_layer(f, "one", GZIP);
	json_put_str(layer_at(f, 0), "size", "12");
	layout_image(&f->l, "a:1");
	expect_refused(f, "not positive");
}

static void test_hostile_digests(void **state)
{
	static const char *const digests[] = {
		"", "sha256:", "sha256:../../../../../../../etc/passwd",
		"sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"};
	struct fixture *f = FIXTURE(state);

	for (size_t i = 0; i < ARRAY_SIZE(digests); i++) {
		add_layer(f, "one", GZIP);
		json_put_str(layer_at(f, 0), "digest", digests[i]);
		layout_image(&f->l, "a:1");
		expect_refused(f, "malformed or not SHA-256");
		new_layout(f);
	}
	add_layer(f, "one", GZIP);
	json_object_array_put_idx(f->l.diff_ids, 0, json_object_new_string("../../x"));
	layout_image(&f->l, "a:1");
	expect_refused(f, "is malformed");
}

static void test_counts_that_do_not_match(void **state)
{
	struct fixture *f = FIXTURE(state);

	add_layer(f, "one", GZIP);
	json_object_array_add(f->l.diff_ids,
			      json_object_get(json_object_array_get_idx(f->l.diff_ids, 0)));
	layout_image(&f->l, "a:1");
	expect_refused(f, "do not match the manifest's 1 layers");

	new_layout(f);
	layout_image(&f->l, "a:1");
	expect_refused(f, "the manifest has 0 layers");

	new_layout(f);
	add_layer(f, "one", GZIP);
	for (int i = 0; i < IMAGE_LAYERS_MAX; i++)
		json_object_array_add(f->l.layers, json_object_get(layer_at(f, 0)));
	layout_image(&f->l, "a:1");
	expect_refused(f, "the manifest has 128 layers");
}

static void test_unknown_media_types(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct json_object *desc;

	add_layer(f, "one", GZIP);
	json_put_str(layer_at(f, 0), "mediaType", PLAIN "+bzip2");
	layout_image(&f->l, "a:1");
	expect_refused(f, "tar+bzip2\", which is unknown");

	new_layout(f);
	add_layer(f, "one", GZIP);
	json_object_object_del(layer_at(f, 0), "mediaType");
	layout_image(&f->l, "a:1");
	expect_refused(f, "which is unknown");

	new_layout(f);
	add_layer(f, "one", GZIP);
	desc = layout_manifest(&f->l);
	json_put_str(desc, "mediaType", "application/json");
	json_object_array_add(f->l.manifests, desc);
	layout_write_index(&f->l);
	expect_refused(f, "\"application/json\", which is unknown");
}

/* Other filters of libarchive are not there. */
static void test_unknown_compression(void **state)
{
	struct fixture *f = FIXTURE(state);
	static const char bzip2[] = "BZh91AY&SY\x17\x72\x45\x38\x50\x90";
	struct tarball t = {.buf = malloc(sizeof(bzip2)), .used = sizeof(bzip2)};

	memcpy(t.buf, bzip2, sizeof(bzip2));
	expect_layer_refused(f, &t, "the archive is damaged or of another kind");
}

static void test_ambiguous_document(void **state)
{
	struct fixture *f = FIXTURE(state);

	add_layer(f, "one", GZIP);
	json_put_obj(f->l.manifest, "manifests", json_object_new_array());
	layout_image(&f->l, "a:1");
	expect_refused(f, "both an index and a manifest");

	new_layout(f);
	add_layer(f, "one", GZIP);
	json_put_str(f->l.manifest, "mediaType", INDEX);
	layout_image(&f->l, "a:1");
	expect_refused(f, "says that it is something else");
}

static void test_deep_and_wide_indexes(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct json_object *at;

	add_layer(f, "one", GZIP);
	at = layout_manifest(&f->l);
	for (int i = 0; i < 4; i++) {
		struct json_object *entries = json_object_new_array();

		json_object_array_add(entries, at);
		at = nested_index(f, entries);
	}
	put_index(f, at, "a:1");
	expect_refused(f, "nested more than");

	new_layout(f);
	add_layer(f, "one", GZIP);
	at = layout_manifest(&f->l);
	for (int i = 0; i < IMAGE_INDEX_MAX; i++)
		json_object_array_add(f->l.manifests, json_object_get(at));
	put_index(f, at, "a:1");
	expect_refused(f, "an index has 65 entries");
}

static void test_hostile_configs(void **state)
{
	static const struct {
		const char *config, *needle;
	} cases[] = {
		{"{\"WorkingDir\":\"srv\"}", "not absolute"},
		{"{\"WorkingDir\":7}", "not a string"},
		{"{\"User\":\"a\\nb\"}", "not printable"},
		{"{\"User\":\"a\\u0000b\"}", "not a string"},
		{"{\"Entrypoint\":\"/bin/sh\"}", "not a list"},
		{"{\"Cmd\":[1]}", "not a list"},
		{"{\"Env\":[\"NOVALUE\"]}", "not KEY=VALUE"},
		{"{\"Env\":[\"=x\"]}", "not KEY=VALUE"},
		{"[]", "not an object"},
		{"{\"Labels\":[]}", "not an object of up to 256"},
		{"{\"Labels\":{\"a\":1}}", "label \"a\" in the config is not a string"},
		{"{\"Labels\":{\"a\":\"b\\u0000c\"}}", "label \"a\" in the config is not a string"},
		{"{\"Labels\":{\"a\":null}}", "label \"a\" in the config is not a string"},
	};
	struct fixture *f = FIXTURE(state);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		add_layer(f, "one", GZIP);
		json_put_obj(f->l.config, "config", parse(cases[i].config));
		layout_image(&f->l, "a:1");
		expect_refused(f, cases[i].needle);
		new_layout(f);
	}
}

static void test_too_much_config(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct json_object *config = json_object_new_object();
	struct json_object *cmd = json_object_new_array();
	static char text[IMAGE_STRING_MAX + 2];

	for (int i = 0; i <= IMAGE_STRINGS_MAX; i++)
		json_object_array_add(cmd, json_object_new_string("x"));
	json_put_obj(config, "Cmd", cmd);
	add_layer(f, "one", GZIP);
	json_put_obj(f->l.config, "config", config);
	layout_image(&f->l, "a:1");
	expect_refused(f, "up to 1024 strings");

	new_layout(f);
	memset(text, 'x', sizeof(text) - 1);
	cmd = json_object_new_array();
	json_object_array_add(cmd, json_object_new_string(text));
	config = json_object_new_object();
	json_put_obj(config, "Cmd", cmd);
	add_layer(f, "one", GZIP);
	json_put_obj(f->l.config, "config", config);
	layout_image(&f->l, "a:1");
	expect_refused(f, "in one string");
}

/* `n` labels, the first with a name and a value of these lengths. */
static void put_labels(struct fixture *f, int n, int name_len, int value_len)
{
	struct json_object *config = json_object_new_object(), *labels = json_object_new_object();
	static char name[IMAGE_STRING_MAX + 2], value[IMAGE_STRING_MAX + 2];

	snprintf(name, sizeof(name), "%0*d", name_len, 0);
	snprintf(value, sizeof(value), "%0*d", value_len, 0);
	json_put_str(labels, name, value);
	for (int i = 1; i < n; i++) {
		snprintf(name, sizeof(name), "label%d", i);
		json_put_str(labels, name, "x");
	}
	json_put_obj(config, "Labels", labels);
	add_layer(f, "one", GZIP);
	json_put_obj(f->l.config, "config", config);
	layout_image(&f->l, "a:1");
}

static void test_too_many_labels(void **state)
{
	struct fixture *f = FIXTURE(state);

	put_labels(f, IMAGE_LABELS_MAX + 1, 1, 1);
	expect_refused(f, "up to 256 members");
	new_layout(f);
	put_labels(f, 1, IMAGE_LABEL_NAME_MAX + 1, 1);
	expect_refused(f, "is longer than 256 (name)");
	new_layout(f);
	put_labels(f, 1, 1, IMAGE_STRING_MAX + 1);
	expect_refused(f, "32768 bytes (value)");
	new_layout(f);
	put_labels(f, IMAGE_LABELS_MAX, IMAGE_LABEL_NAME_MAX, IMAGE_STRING_MAX);
	expect_loaded(f, NULL);
}

static void test_bad_json(void **state)
{
	static const char *const texts[] = {
		"", "{", "{}x", "[]", "null", "\"\xff\"", "{\"schemaVersion\":2}"};
	struct fixture *f = FIXTURE(state);
	char deep[256];

	add_layer(f, "one", GZIP);
	layout_image(&f->l, "a:1");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		write_file(f->l.dir, "index.json", texts[i], strlen(texts[i]));
		expect_refused(f, "ind");
	}
	memset(deep, '[', sizeof(deep));
	write_file(f->l.dir, "index.json", deep, sizeof(deep));
	expect_refused(f, "index.json is not valid JSON");
	layout_write_index(&f->l);
	write_file(f->l.dir, "oci-layout", "{\"imageLayoutVersion\":\"9\"}", 26);
	expect_refused(f, "the layout's version is \"9\"");
}

static void test_bad_manifest_json(void **state)
{
	struct fixture *f = FIXTURE(state);
	char deep[2048];

	memset(deep, '[', sizeof(deep));
	put_index(f, layout_blob(&f->l, MANIFEST, deep, sizeof(deep)), "a:1");
	expect_refused(f, "manifest is not valid JSON");
}

static void test_long_documents(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_free char *spaces = malloc(5 << 20);

	memset(spaces, ' ', 5 << 20);
	put_index(f, layout_blob(&f->l, MANIFEST, spaces, 5 << 20), "a:1");
	expect_refused(f, "more than the 4 MiB allowed");
	write_file(f->l.dir, "index.json", spaces, 5 << 20);
	expect_refused(f, "is longer than 4 MiB");
}

/* ---- folders that lie ---- */

static void test_no_layout(void **state)
{
	struct fixture *f = FIXTURE(state);

	assert_int_equal(unlinkat(f->l.dir, "oci-layout", 0), 0);
	expect_refused(f, "this is no OCI layout");
}

static void test_links_in_a_folder(void **state)
{
	struct fixture *f = FIXTURE(state);
	char path[128];

	add_layer(f, "one", GZIP);
	blob_path(json_get_str(layer_at(f, 0), "digest"), path);
	layout_image(&f->l, "a:1");
	assert_int_equal(renameat(f->l.dir, path, f->dir, "elsewhere"), 0);
	assert_int_equal(symlinkat("../../../elsewhere", f->l.dir, path), 0);
	expect_refused(f, "is not a regular file of the layout");

	assert_int_equal(unlinkat(f->l.dir, path, 0), 0);
	assert_int_equal(mkfifoat(f->l.dir, path, 0600), 0);
	expect_refused(f, "is not a regular file of the layout");

	assert_int_equal(renameat(f->l.dir, "blobs/sha256", f->dir, "blobs-elsewhere"), 0);
	assert_int_equal(symlinkat("../../blobs-elsewhere", f->l.dir, "blobs/sha256"), 0);
	expect_refused(f, "is not a regular file of the layout");

	assert_int_equal(unlinkat(f->l.dir, "index.json", 0), 0);
	assert_int_equal(mkfifoat(f->l.dir, "index.json", 0600), 0);
	expect_refused(f, "\"index.json\" is not a regular file of the layout");
	assert_int_equal(unlinkat(f->l.dir, "index.json", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", f->l.dir, "index.json"), 0);
	expect_refused(f, "\"index.json\" is not a regular file of the layout");
}

/* ---- archives ---- */

static void put_copy(struct tarball *t, int dir, const char *path, const char *as)
{
	struct archive_entry *e = tarball_entry(as, AE_IFREG, 0644);
	cleanup_free char *text = NULL;
	size_t len;

	assert_int_equal(fd_read_file(dir, path, 1 << 20, &text, &len), 0);
	archive_entry_set_size(e, (la_int64_t)len);
	assert_int_equal(archive_write_header(t->a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(t->a, text, len), len);
	archive_entry_free(e);
}

/* All files of the layout but the ones that `without` begins. The tarball stays open. */
static void archive_layout(struct fixture *f, struct tarball *t, const char *prefix)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;
	char path[300], as[400];

	tarball_begin(t, 1 << 20);
	snprintf(as, sizeof(as), "%soci-layout", prefix);
	put_copy(t, f->l.dir, "oci-layout", as);
	snprintf(as, sizeof(as), "%sindex.json", prefix);
	put_copy(t, f->l.dir, "index.json", as);
	dir = fdopendir(openat(f->l.dir, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "blobs/sha256/%s", e->d_name);
		snprintf(as, sizeof(as), "%s%s", prefix, path);
		put_copy(t, f->l.dir, path, as);
	}
}

/* End the tarball, compress it and write it to a file. Takes it over. */
static int archive_file(struct fixture *f, struct tarball *t, const char *media)
{
	int fd;

	if (t->a)
		tarball_end(t);
	tarball_compress(t, media);
	write_file(f->dir, "archive", t->buf, t->used);
	free(t->buf);
	fd = openat(f->dir, "archive", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void test_archives_of_all_kinds(void **state)
{
	static const char *const kinds[] = {PLAIN, GZIP, ZSTD};
	static const char *const prefixes[] = {"", "./", "/"};
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		cleanup_fd int fd = -1;
		struct error err;

		add_layer(f, kinds[i], GZIP);
		layout_image(&f->l, "a:1");
		archive_layout(f, &t, prefixes[i]);
		tarball_dir(&t, "blobs/sha256/");
		tarball_file(&t, "manifest.json", "[]");
		tarball_symlink(&t, "repositories", "/etc/passwd");
		fd = archive_file(f, &t, kinds[i]);
		if (load_fd(f, fd, NULL, &err) < 0)
			fail_msg("image_load: %s", err.msg);
		expect_found(f, "a:1", "a:1");
		new_layout(f);
	}
}

static void refuse_archive(struct fixture *f, struct tarball *t, const char *needle)
{
	cleanup_fd int fd = archive_file(f, t, GZIP);

	expect_refused_fd(f, fd, NULL, needle);
}

static void test_hostile_archives(void **state)
{
	struct fixture *f = FIXTURE(state);
	struct tarball t;

	add_layer(f, "one", GZIP);
	layout_image(&f->l, "a:1");

	tarball_begin(&t, 1 << 20);
	tarball_symlink(&t, "blobs/sha256", f->path);
	refuse_archive(f, &t, "\"blobs/sha256\" in the archive is not a folder");

	tarball_begin(&t, 1 << 20);
	tarball_symlink(&t, "index.json", "/etc/passwd");
	refuse_archive(f, &t, "\"index.json\" in the archive is not a regular file");

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "oci-layout", "x");
	tarball_hardlink(&t, "index.json", "oci-layout");
	refuse_archive(f, &t, "\"index.json\" in the archive is not a regular file");

	tarball_begin(&t, 1 << 20);
	tarball_device(&t, "oci-layout", AE_IFIFO, 0, 0);
	refuse_archive(f, &t, "\"oci-layout\" in the archive is not a regular file");

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "blobs/../../evil", "x");
	refuse_archive(f, &t, "contains \"..\"");

	archive_layout(f, &t, "");
	tarball_file(&t, "./index.json", "{}");
	refuse_archive(f, &t, "\"index.json\" twice");

	t = raw_tarball(8192);
	raw_header(&t, '0', "index.json", 1ull << 40);
	refuse_archive(f, &t, "is more than the limit leaves");

	tarball_begin(&t, 1 << 20);
	tarball_file(&t, "hello", "world");
	refuse_archive(f, &t, "this is no OCI layout");
}

static void test_truncated_archive(void **state)
{
	struct fixture *f = FIXTURE(state);
	cleanup_fd int fd = -1, cut = -1;
	struct tarball t;
	struct stat st;

	add_layer(f, "one", GZIP);
	layout_image(&f->l, "a:1");
	archive_layout(f, &t, "");
	fd = archive_file(f, &t, GZIP);
	assert_int_equal(fstat(fd, &st), 0);
	cut = openat(f->dir, "archive", O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(cut, st.st_size / 2), 0);
	expect_refused_fd(f, fd, NULL, "the archive is damaged");
	assert_int_equal(ftruncate(cut, 0), 0);
	expect_refused_fd(f, fd, NULL, "the archive is damaged");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_layers_of_all_kinds),
		STORE_TEST(test_compression_is_detected),
		STORE_TEST(test_docker_media_types),
		STORE_TEST(test_config),
		STORE_TEST(test_no_labels),
		STORE_TEST(test_many_platforms),
		STORE_TEST(test_other_platforms_only),
		STORE_TEST(test_names),
		STORE_TEST(test_names_missing),
		STORE_TEST(test_given_name_must_fit),
		STORE_TEST(test_two_images_of_one_name),
		STORE_TEST(test_wrong_digest),
		STORE_TEST(test_damaged_copy_of_a_layer_in_the_store),
		STORE_TEST(test_wrong_diff_id),
		STORE_TEST(test_diff_id_collision),
		STORE_TEST(test_truncated_blob),
		STORE_TEST(test_hostile_numbers),
		STORE_TEST(test_hostile_digests),
		STORE_TEST(test_counts_that_do_not_match),
		STORE_TEST(test_unknown_media_types),
		STORE_TEST(test_unknown_compression),
		STORE_TEST(test_ambiguous_document),
		STORE_TEST(test_deep_and_wide_indexes),
		STORE_TEST(test_hostile_configs),
		STORE_TEST(test_too_much_config),
		STORE_TEST(test_too_many_labels),
		STORE_TEST(test_bad_json),
		STORE_TEST(test_bad_manifest_json),
		STORE_TEST(test_long_documents),
		STORE_TEST(test_no_layout),
		STORE_TEST(test_links_in_a_folder),
		STORE_TEST(test_archives_of_all_kinds),
		STORE_TEST(test_hostile_archives),
		STORE_TEST(test_truncated_archive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
