/* SPDX-License-Identifier: MIT */
/* Console input: answers each line, until "quit". */
#include "pvg.h"

void guest_main(void)
{
	char line[200];
	unsigned int n = 0;

	printf("ready\n");
	for (;;) {
		int c = pvg_getc();

		if (c < 0) {
			HC2(sched_op, SCHEDOP_yield, 0);
			continue;
		}
		if (c == '\r')
			c = '\n';
		if (c != '\n') {
			if (n < sizeof(line) - 1)
				line[n++] = (char)c;
			continue;
		}
		line[n] = 0;
		printf("%d characters: %s\n", n, line);
		if (!strcmp(line, "quit"))
			return;
		n = 0;
	}
}
