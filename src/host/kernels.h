/* kernels.h - `towline-host kernels [FOLDER]`: every kernel and interpreter of this host as JSON
 * (kernel/specs); `kernels --file ID NAME`: a logo (kernel/file). For the agent. A short-lived
 * process that may block and looks at many places; runs interpreters themselves only where files
 * leave a doubt, never a shell, with deadlines. */
#ifndef TL_HOST_KERNELS_H
#define TL_HOST_KERNELS_H

#include "host/kernelspec.h"

/* Interpreters in the order found. */
struct kernel_finds {
	struct kernelspec *spec;
	size_t n, cap;
	struct strv seen; /* what was looked at, by real path */
	bool complete;
};

int kernels_main(int argc, char **argv);

/* kernels_find.c: fills f from everywhere; folder: a project whose .venv is looked at, or NULL. */
void kernels_find(struct kernel_finds *f, const char *folder);
/* kernels_probe.c: asks the unsure ones themselves. */
void kernels_probe(struct kernel_finds *f);

#endif
