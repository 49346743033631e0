// SPDX-License-Identifier: MIT
#include "scan/root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/fd.h"

int root_open(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned int)flags | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int root_read(int root, const char *path, size_t max, char **ret, size_t *ret_len)
{
	cleanup_fd int fd = root_open(root, path, O_RDONLY);
	cleanup_free char *buf = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((size_t)st.st_size > max)
		return -EFBIG;
	buf = malloc(st.st_size + 1);
	r = buf ? fd_read_all(fd, buf, st.st_size) : -ENOMEM;
	if (r < 0)
		return r;
	buf[st.st_size] = '\0';
	*ret_len = st.st_size;
	*ret = TAKE_PTR(buf);
	return 0;
}
