/* facts.h - facts about this host and user, for host/info and probe. Reads, never writes. */
#ifndef TL_HOST_FACTS_H
#define TL_HOST_FACTS_H

#include "wire/json.h"

/* Adds os, arch, kernel, hostname, user, uid, home, shell, tmp, dataDir, network to obj (as
 * HostInfo names them). Strings are copied into doc. False when memory ran out. */
bool facts_add(yyjson_mut_doc *doc, yyjson_mut_val *obj);

#endif
