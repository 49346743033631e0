// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <stdio.h>

#include "common/log.h"
#include "core/inject.h"
#include "recapd/config.h"
#include "recapd/manager.h"
#include "recapd/reexec.h"

int main(int argc, char **argv)
{
	enum config_action action;
	struct manager *m = NULL;
	struct config config;
	struct error err = {};
	int null;
	int r = config_read(argc, argv, &config, &action, &err);

	/* Descriptors of ours must not take the places of standard streams that we were started without. */
	while ((null = open("/dev/null", O_RDWR)) >= 0 && null <= STDERR_FILENO)
		;
	close(null);
	inject_set_arguments(argv);
	if (r == 0 && action == CONFIG_HELP) {
		fputs(config_help, stdout);
	} else if (r == 0 && action == CONFIG_VERSION) {
		puts("recapd " RECAP_VERSION);
	} else if (r == 0) {
		r = reexec_sealed(argv, &err);
		if (r == 0)
			r = manager_open(&config, &m, &err);
		if (r == 0)
			r = manager_run(m, &err);
		manager_close(m);
	}
	if (r == 0 || action != CONFIG_RUN)
		config_clear(&config);
	if (r < 0)
		log_error("%s", err.msg);
	return r < 0 ? 1 : 0;
}
