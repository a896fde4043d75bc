/* stream_class.h - the scheduling class of a stream by its opening object. Pure. */
#ifndef TL_DIAL_STREAM_CLASS_H
#define TL_DIAL_STREAM_CLASS_H

#include "core/session.h"
#include "wire/json.h"

/* The class asked for, else the one of the service (proto/streams.def), else normal. */
enum session_class stream_class(yyjson_val *open);

#endif
