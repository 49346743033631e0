/* SPDX-License-Identifier: MIT */
/* What the fuzzers share: libFuzzer's entry points, and a check that ends the run when it fails. */
#ifndef RECAP_FUZZ_H
#define RECAP_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(ok)                     \
	do {                         \
		if (!(ok)) {         \
			perror(#ok); \
			abort();     \
		}                    \
	} while (0)

#endif
