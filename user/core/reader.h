/* SPDX-License-Identifier: MIT */
/*
 * The reader: the process in which all JSON is parsed that recapd is given, by clients, images and runtimes. It holds no capability
 * and can open nothing; recapd gets a flat, typed form of the values back, which it checks byte by byte (common/flat.h). So no
 * parser works on a stranger's text where there is power to lose.
 */
#ifndef RECAP_READER_H
#define RECAP_READER_H

#include "common/error.h"

struct reader;

/* Fork it, and have json_parse() ask it from now on. Its memory is what the caller's is by then. */
int reader_start(struct reader **ret, struct error *err) must_check;

/* End it; json_parse() parses by itself again. */
void reader_stop(struct reader *reader);

#endif
