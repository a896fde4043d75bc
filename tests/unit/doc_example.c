/* doc_example.c - see doc_example.h. */
#include "doc_example.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t doc_example(const char *name, uint8_t *out, size_t size)
{
	char line[1000], want[100];
	size_t n = 0;
	bool inside = false;
	FILE *f = fopen("docs/protocol.md", "r");
	assert_non_null(f);
	snprintf(want, sizeof(want), "```hex %s\n", name);
	while (fgets(line, sizeof(line), f)) {
		if (inside && line[0] == '`')
			break;
		for (char *c = line; inside && *c;) {
			unsigned v;
			if (isspace((unsigned char)*c)) {
				c++;
				continue;
			}
			assert_int_equal(sscanf(c, "%2x", &v), 1);
			assert_true(n < size);
			out[n++] = (uint8_t)v;
			c += 2;
		}
		inside = inside || !strcmp(line, want);
	}
	fclose(f);
	assert_true(n > 0);
	return n;
}
