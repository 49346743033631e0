// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/log.h"
#include "core/injector.h"
#include "core/reader.h"
#include "recapd/config.h"
#include "recapd/confine.h"
#include "recapd/manager.h"
#include "recapd/reexec.h"

/*
 * libbpf takes and frees the kernel's BTF, 11 MiB in one piece. From that glibc would learn to keep pieces of such a size, and twice as
 * much of what is free (mallopt(3), "dynamic mmap threshold"): long messages and lists would leave a heap that only grows.
 */
static void keep_little_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int main(int argc, char **argv)
{
	enum config_action action;
	struct injector *injector = NULL;
	struct reader *reader = NULL;
	static struct manager *m; /* what was handed over is not freed, and is to be found */
	struct config config = {};
	struct error err = {};
	int null;
	int r = config_read(argc, argv, &config, &action, &err);

	/* Descriptors of ours must not take the places of standard streams that we were started without. */
	while ((null = open("/dev/null", O_RDWR)) >= 0 && null <= STDERR_FILENO)
		;
	close(null);
	/* Modes are said where files are made; a service manager's mask must not take from them. */
	umask(022);
	inject_set_arguments(argv);
	keep_little_memory();
	if (r == 0 && action == CONFIG_HELP) {
		fputs(config_help, stdout);
	} else if (r == 0 && action == CONFIG_VERSION) {
		puts("recapd " RECAP_VERSION);
	} else if (r == 0) {
		r = reexec_sealed(argv, &err);
		if (r == 0)
			r = manager_check_privileges(&err);
		/* Before there is anything that a fork would take along. */
		if (r == 0)
			r = injector_start(&injector, &err);
		if (r == 0)
			r = reader_start(&reader, &err);
		if (r == 0)
			r = confine(&err);
		if (r == 0)
			r = manager_open(&config, injector, &m, &err);
		if (r == 0)
			r = manager_run(m, &err);
		manager_close(m);
		injector_stop(injector);
		reader_stop(reader);
	}
	config_clear(&config);
	if (r < 0)
		log_error("%s", err.msg);
	return r < 0 ? 1 : 0;
}
