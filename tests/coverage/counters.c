// SPDX-License-Identifier: MIT
/*
 * Coverage of what is forked, too. recapd's children end with _exit(2) or execve(2), in other mount namespaces, behind Landlock and
 * seccomp: there is no way for them to write down what they counted. So all of them count on the very pages of the process that they
 * were forked from, which writes them down when it ends.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* <gcov.h>, which only gcc has. */
void __gcov_dump(void);

extern char gcov_counters_start[], gcov_counters_end[];

static size_t counters_size(void)
{
	/* cppcheck-suppress comparePointers ; symbols of the linker */
	return gcov_counters_end - gcov_counters_start;
}

/*
 * Writing adds what the files have to the counters. What is written starts at 0 again, or the next process would add it once more. A
 * process writes once: gcc's own writing at the end finds that it has been done.
 */
static void write_down(void)
{
	int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	/* Another user than who built it cannot write, which gcc would say where tests look. GCOV_ERROR_FILE is not for static programs. */
	dup2(null, STDERR_FILENO);
	__gcov_dump();
	dup2(kept, STDERR_FILENO);
	close(null);
	close(kept);
	memset(gcov_counters_start, 0, counters_size());
}

static __attribute__((constructor)) void share_counters(void)
{
	size_t size = counters_size();
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!size || shared == MAP_FAILED)
		abort();
	memcpy(shared, gcov_counters_start, size);
	if (mremap(shared, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, gcov_counters_start) ==
		    MAP_FAILED ||
	    atexit(write_down))
		abort();
}

/* recapd executes itself once (recapd/reexec.c), in place of ending. The linker has all calls come here (--wrap). */
int __real_fexecve(int fd, char *const argv[], char *const env[]);
int __wrap_fexecve(int fd, char *const argv[], char *const env[]);

int __wrap_fexecve(int fd, char *const argv[], char *const env[])
{
	write_down();
	return __real_fexecve(fd, argv, env);
}
