/* limits.h - TL_LIMIT_* constants from proto/limits.def. */
#ifndef TL_BASE_LIMITS_H
#define TL_BASE_LIMITS_H

enum tl_limit {
#define TL_LIMIT(sym, value, unit, why) TL_LIMIT_##sym = (value),
#include "proto/limits.def"
#undef TL_LIMIT
};

#endif
