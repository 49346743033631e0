// SPDX-License-Identifier: MIT
#include "fault.h"

#undef open
#undef mmap

extern const struct fault_point __start_fault_points[], __stop_fault_points[];

static struct fault_control *control;

/* Before main(): a descriptor would be one too many for a recapd whose descriptors are counted, so none is kept. */
static __attribute__((constructor)) void map_control(void)
{
	const char *path = getenv("RECAP_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	/* cppcheck-suppress comparePointers ; symbols of the linker */
	size_t n = __stop_fault_points - __start_fault_points;
	struct fault_control *c;

	if (!path)
		return;
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (fd < 0 || c == MAP_FAILED || n > sizeof(c->points) / sizeof(c->points[0]))
		abort();
	for (size_t i = 0; i < n; i++)
		snprintf(c->points[i].name, sizeof(c->points[i].name), "%s %s:%s",
			 __start_fault_points[i].file, __start_fault_points[i].function,
			 __start_fault_points[i].call);
	c->n = n;
	c->pid = getpid();
	control = c;
}

bool fault_strikes(const struct fault_point *p)
{
	struct fault_control *c = control;
	uint32_t i = p - __start_fault_points;
	int32_t left;

	if (!c)
		return false;
	__atomic_fetch_add(&c->points[i].hits, 1, __ATOMIC_RELAXED);
	if (__atomic_load_n(&c->armed, __ATOMIC_ACQUIRE) != i + 1)
		return false;
	left = __atomic_fetch_sub(&c->skip, 1, __ATOMIC_RELAXED);
	if (left > 0 || (left < 0 && !c->sticky))
		return false;
	__atomic_fetch_add(&c->fired, 1, __ATOMIC_RELAXED);
	errno = c->error;
	/* No system call to sleep with: init has filtered them away. */
	while (!c->error && __atomic_load_n(&c->armed, __ATOMIC_ACQUIRE) == i + 1)
		__builtin_ia32_pause();
	return c->error;
}
