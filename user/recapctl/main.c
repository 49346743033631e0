// SPDX-License-Identifier: MIT
#include "recapctl/recapctl.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv);
}
