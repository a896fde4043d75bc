/* memory.h - an allocator that can say no. */
#ifndef TL_TESTS_SIM_MEMORY_H
#define TL_TESTS_SIM_MEMORY_H

#include <stdint.h>

/* One request in this many fails; 0: none. Kept small numbers, the same seed is the same run. */
void memory_scarce(unsigned one_in, uint64_t seed);
unsigned long memory_refused(void);

#endif
