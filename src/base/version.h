/* version.h - the one place where the version is written. */
#ifndef TL_BASE_VERSION_H
#define TL_BASE_VERSION_H

#ifndef TL_VERSION
#define TL_VERSION "0.1.0"
#endif

#endif
