// SPDX-License-Identifier: MIT
#include "recapd/reexec.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define SEALS	   (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define ORIGIN	   "RECAPD_ORIGIN"
#define MEMFD_EXEC 0x0010U /* MFD_EXEC, since 6.3: where vm.memfd_noexec asks for it */

static bool is_sealed(int exe)
{
	int seals = fcntl(exe, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}

static int make_memfd(void)
{
	int fd = memfd_create("recapd", MFD_CLOEXEC | MFD_ALLOW_SEALING | MEMFD_EXEC);

	/* An older kernel does not know the flag, and needs none. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("recapd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

/* A sealed copy of `exe`, or -errno. */
static int copy_sealed(int exe)
{
	cleanup_fd int fd = make_memfd();
	struct stat st;
	off_t at = 0;

	if (fd < 0)
		return fd;
	if (fstat(exe, &st) < 0)
		return -errno;
	while (at < st.st_size)
		if (sendfile(fd, exe, &at, st.st_size - at) <= 0)
			return errno ? -errno : -EIO;
	if (fchmod(fd, 0555) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int reexec_sealed(char **argv, struct error *err)
{
	cleanup_fd int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cleanup_fd int copy = -1;
	char path[4096];
	ssize_t n;

	if (exe < 0)
		return error_sys(err, errno, "cannot open /proc/self/exe (is /proc mounted?)");
	if (is_sealed(exe)) {
		/* execveat(2) named us after a descriptor. */
		prctl(PR_SET_NAME, "recapd");
		return 0;
	}
	copy = copy_sealed(exe);
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (copy < 0 || n < 0)
		return error_sys(err, copy < 0 ? -copy : errno,
				 "cannot make a sealed copy of recapd in memory");
	path[n] = '\0';
	if (setenv(ORIGIN, path, 1) == 0)
		fexecve(copy, argv, environ);
	return error_sys(err, errno, "cannot execute the sealed copy of recapd");
}

const char *reexec_origin(void)
{
	return getenv(ORIGIN);
}
