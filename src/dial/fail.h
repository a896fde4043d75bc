/* fail.h - why an attempt failed, from what ssh said, how it ended and how far we were. Pure. */
#ifndef TL_DIAL_FAIL_H
#define TL_DIAL_FAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct fail_facts {
	const char *host;     /* as the user wrote it */
	const char *ssh_text; /* the last lines of ssh's standard error */
	const char *noise;    /* what the host printed that was not ours */
	bool local;           /* without ssh */
	bool here;            /* our start-up line ran on the host */
	bool hostkey_asked;   /* ssh asked whether the host key is right */
	int exit_kind;        /* as child.h: 0 status, 1 signal */
	int exit_value;
};

/* The attempt ended by itself before the link. Returns the code. */
int fail_exit(const struct fail_facts *f, struct tl_err *err);
/* The deadline of ms milliseconds came first. */
int fail_timeout(const struct fail_facts *f, uint64_t ms, struct tl_err *err);
/* The start-up line reported `CODE reason`; arch as far as known. */
int fail_reported(const struct fail_facts *f, const char *text, struct tl_err *err);
/* The link was up and ended. */
int fail_down(const struct fail_facts *f, struct tl_err *err);
/* True for the line by which ssh tells that a key is not the known one. */
bool fail_is_hostkey(const char *line);

#endif
