/* install_path.h - remote.SSH.serverInstallPath of the user's settings: where the server is on
 * which host. A map from names or patterns of hosts to folders there; the first that fits counts.
 */
#ifndef TL_DIAL_INSTALL_PATH_H
#define TL_DIAL_INSTALL_PATH_H

#include "base/err.h"
#include "wire/json.h"

/* settings: the object of all settings, or NULL. *ret: malloc'ed; NULL: the usual place. TL_E_INVAL
 * for what makes no sense there. */
int dial_install_path(yyjson_val *settings, const char *host, char **ret, struct tl_err *err);

#endif
