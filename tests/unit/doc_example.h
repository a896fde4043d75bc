/* doc_example.h - the examples of docs/protocol.md, for tests that hold the code to them. */
#ifndef TL_TESTS_DOC_EXAMPLE_H
#define TL_TESTS_DOC_EXAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of the block ```hex NAME of the protocol document; fails the test without it. */
size_t doc_example(const char *name, uint8_t *out, size_t size);

#endif
