// SPDX-License-Identifier: MIT
/* Says that it is here, and then nothing: for the time to the first instruction of init, and memory
 * when idle. */
#include <unistd.h>

int main(void)
{
	if (write(1, "idle-init: here\n", 16) != 16)
		return 1;
	for (;;)
		pause();
}
