/* stream_class.c - see stream_class.h. */
#include "dial/stream_class.h"

#include <string.h>

/* Scheduling class names, in the order of enum session_class. */
static const char *const class_names[] = {"control", "key", "normal", "bulk"};

static const struct {
	const char *name;
	enum session_class cls;
} services[] = {
#define CLASS_CONTROL                              SESSION_CONTROL
#define CLASS_KEY                                  SESSION_KEY
#define CLASS_NORMAL                               SESSION_NORMAL
#define CLASS_BULK                                 SESSION_BULK
#define TL_STREAM(sym, name, cls, nature, summary) {name, CLASS_##cls},
#include "proto/streams.def"
#undef TL_STREAM
};

enum session_class stream_class(yyjson_val *open)
{
	const char *hint = json_str(open, "class", ""), *name = json_str(open, "open", "");

	for (size_t i = 0; i < sizeof(class_names) / sizeof(class_names[0]); i++)
		if (strcmp(hint, class_names[i]) == 0)
			return (enum session_class)i;
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (strcmp(name, services[i].name) == 0)
			return services[i].cls;
	return SESSION_NORMAL;
}
