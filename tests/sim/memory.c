/* memory.c - see memory.h. Stands before the C library's malloc and calloc in every simulation. */
#include "memory.h"

#include <errno.h>
#include <stddef.h>

#include "world.h"

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);

static struct {
	unsigned one_in;
	uint64_t rng;
	unsigned long refused;
} scarce;

void memory_scarce(unsigned one_in, uint64_t seed)
{
	scarce.one_in = one_in;
	scarce.rng = seed;
}

unsigned long memory_refused(void)
{
	return scarce.refused;
}

static bool refuse(void)
{
	if (!scarce.one_in || world_random(&scarce.rng) % scarce.one_in)
		return false;
	scarce.refused++;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return refuse() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __libc_calloc(n, size);
}
