/* SPDX-License-Identifier: MIT */
#include "pvg.h"

struct start_info *start_info;
void pvg_main(struct start_info *si);

/* start.S calls this. */
void pvg_main(struct start_info *si)
{
	start_info = si;
	pvg_console_init();
	guest_main();
	pvg_exit(SHUTDOWN_poweroff);
}

void pvg_exit(unsigned int reason)
{
	struct sched_shutdown s = {.reason = reason};

	pvg_console_flush();
	HC2(sched_op, SCHEDOP_shutdown, &s);
	for (;;)
		HC2(sched_op, SCHEDOP_yield, 0);
}
