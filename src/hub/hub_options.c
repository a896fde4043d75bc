/* hub_options.c - how a host is reached: the options of ssh that came with it. Owned strings. */
#include "hub/hub_priv.h"

#include <stdlib.h>

void options_fini(struct host_options *o)
{
	free(o->config_file);
	strv_fini(&o->identities);
	strv_fini(&o->options);
	memset(o, 0, sizeof(*o));
}

static int strv_from(yyjson_val *arr, struct strv *out)
{
	yyjson_val *v;
	size_t i, n;

	yyjson_arr_foreach(arr, i, n, v)
	{
		if (!yyjson_is_str(v) || strv_add(out, yyjson_get_str(v)) != 0)
			return TL_E_INVAL;
	}
	return 0;
}

int options_parse(yyjson_val *v, struct host_options *ret)
{
	const char *file = json_str(v, "configFile", NULL);
	int64_t port = json_int(v, "port", 0);

	memset(ret, 0, sizeof(*ret));
	ret->config_file = file ? str_dup(file) : NULL;
	ret->port = port > 0 && port < 65536 ? (int)port : 0;
	if (strv_from(json_get(v, "identities"), &ret->identities) ||
	    strv_from(json_get(v, "options"), &ret->options)) {
		options_fini(ret);
		return TL_E_INVAL;
	}
	return 0;
}

static bool strv_equal(const struct strv *a, const struct strv *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	return true;
}

bool options_equal(const struct host_options *a, const struct host_options *b)
{
	const char *fa = a->config_file ? a->config_file : "",
		   *fb = b->config_file ? b->config_file : "";

	return strcmp(fa, fb) == 0 && a->port == b->port &&
	       strv_equal(&a->identities, &b->identities) && strv_equal(&a->options, &b->options);
}
