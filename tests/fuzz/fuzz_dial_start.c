/* fuzz_dial_start.c - what a host prints before the link, and what ssh says when it fails: cut in
 * every way the first byte asks for. Markers never come from nowhere and no text overruns. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "dial/fail.h"
#include "dial/prompt.h"
#include "dial/start_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const uint8_t *p, size_t n, size_t step)
{
	struct start_parse s;
	size_t used = 0, words = 0;
	enum start_word w = START_MORE;

	start_parse_init(&s, "n");
	while (used < n && w != START_UP && w != START_NOISY) {
		size_t take = n - used < step ? n - used : step;
		if (start_feed(&s, p + used, take))
			abort();
		used += take;
		while ((w = start_next(&s)) != START_MORE && w != START_UP && w != START_NOISY)
			if (++words > n || strlen(s.text) >= START_LINE)
				abort();
	}
	/* every byte is noise, part of a word, or still there */
	if (s.noise.len + start_rest(&s).n > used || (w == START_NOISY && n <= TL_LIMIT_NOISE))
		abort();
	start_parse_fini(&s);
}

static void explain(const char *text, uint8_t how)
{
	struct fail_facts f = {.host = "h",
			       .ssh_text = how & 1 ? text : "",
			       .noise = how & 2 ? text : "",
			       .here = how & 4,
			       .local = how & 8,
			       .exit_value = how & 16 ? 255 : how};
	struct tl_err err = {0};

	if (fail_exit(&f, &err) >= 0 || fail_reported(&f, text, &err) >= 0 ||
	    fail_down(&f, &err) >= 0 || fail_timeout(&f, 1, &err) >= 0 || !strchr(err.text, 'h'))
		abort();
	prompt_kind(text, "-");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 1)
		return 0;
	parse(data + 1, size - 1, (size_t)(data[0] & 63) * 8 + 1);
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	explain(text, data[0]);
	free(text);
	return 0;
}
