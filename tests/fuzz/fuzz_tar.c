/* fuzz_tar.c - any bytes as an archive that a host sends, whole and in small pieces: the same
 * entries, as much content as they say, and names within their limits. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t entries, content, names;
	bool bad;
};

static struct seen look(const uint8_t *data, size_t size, size_t step)
{
	struct tar_reader *r = malloc(sizeof(*r));
	struct seen s = {0};

	tl_assert(r);
	tar_reader_init(r);
	while (size && !s.bad) {
		struct tl_bytes in = bytes_of(data, size < step ? size : step), got;
		struct tar_entry e;
		enum tar_word w;
		data += in.n;
		size -= in.n;
		while ((w = tar_next(r, &in, &e, &got)) != TAR_MORE && w != TAR_OVER &&
		       w != TAR_BAD) {
			if (w == TAR_ENTRY) {
				tl_assert(strlen(e.name) <= TAR_NAME_MAX);
				tl_assert(strlen(e.target) <= TAR_NAME_MAX);
				s.entries++;
				s.names += strlen(e.name) + strlen(e.target) + e.mode + e.size;
			}
			s.content += w == TAR_DATA ? got.n : 0;
		}
		s.bad = w == TAR_BAD;
		if (w == TAR_OVER)
			break;
	}
	free(r);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = look(data, size, size ? size : 1), cut = look(data, size, 97);

	tl_assert(whole.entries == cut.entries && whole.content == cut.content &&
		  whole.names == cut.names && whole.bad == cut.bad);
	tl_assert(whole.content <= size);
	return 0;
}
