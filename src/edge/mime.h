/* mime.h - content types by file name. */
#ifndef TL_EDGE_MIME_H
#define TL_EDGE_MIME_H

/* Never NULL; unknown endings are application/octet-stream. */
const char *mime_of(const char *path);

#endif
