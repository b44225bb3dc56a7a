/* SPDX-License-Identifier: MIT */
/*
 * A guest for daemons to look after: idles in SCHEDOP_block, obeys control/shutdown, takes commands
 * on its console (say TEXT, write N, spin, deaf, crash, reboot, quit). "write N" prints "safe I"
 * when sector I has been written and flushed: what was printed must be on the disk, whatever
 * becomes of the host program.
 */
#include "pvg.h"
#include <xen/io/blkif.h>
#include <xen/io/xs_wire.h>

static struct pvg_blk disk;
static bool have_disk, deaf;
static u64 *page;

static void write_sectors(u64 n)
{
	struct blkif_request flush = {.operation = BLKIF_OP_FLUSH_DISKCACHE};

	if (!have_disk) {
		printf("no disk\n");
		return;
	}
	for (u64 i = 0; i < n; i++) {
		for (unsigned int w = 0; w < 64; w++)
			page[w] = i * 64 + w + 1;
		if (pvg_blk_rw(&disk, true, i % disk.sectors, page, 0, 0) ||
		    pvg_blk_do(&disk, &flush)) {
			printf("write failed\n");
			return;
		}
		printf("safe %d\n", (int)i);
	}
}

static bool starts(const char *line, const char *word)
{
	return !memcmp(line, word, strlen(word));
}

static void command(const char *line)
{
	u64 n = 0;

	if (starts(line, "say ")) {
		printf("%s\n", line + 4);
	} else if (starts(line, "write ")) {
		for (line += 6; *line >= '0' && *line <= '9'; line++)
			n = n * 10 + (u64)(*line - '0');
		write_sectors(n);
	} else if (!strcmp(line, "spin")) {
		for (;;)
			barrier();
	} else if (!strcmp(line, "deaf")) {
		deaf = true;
		printf("not listening to control/shutdown\n");
	} else if (!strcmp(line, "crash")) {
		pvg_exit(SHUTDOWN_crash);
	} else if (!strcmp(line, "reboot")) {
		pvg_exit(SHUTDOWN_reboot);
	} else if (!strcmp(line, "quit")) {
		pvg_exit(SHUTDOWN_poweroff);
	} else if (*line) {
		printf("what?\n");
	}
}

static void look_at_store(void)
{
	char what[16];

	if (!pvg_store_watch_fired() || pvg_store_read("control/shutdown", what, sizeof(what)) <= 0)
		return;
	if (!deaf && what[0] == 'p') {
		pvg_store_write("control/shutdown", "");
		printf("powering off\n");
		pvg_exit(SHUTDOWN_poweroff);
	}
	if (!deaf && what[0] == 'r') {
		pvg_store_write("control/shutdown", "");
		printf("rebooting\n");
		pvg_exit(SHUTDOWN_reboot);
	}
}

/* True if there was something. */
static bool look_at_console(void)
{
	static char line[200];
	static unsigned int n;
	int c = pvg_getc();

	if (c < 0)
		return false;
	if (c != '\r' && c != '\n') {
		if (n < sizeof(line) - 1)
			line[n++] = (char)c;
		return true;
	}
	line[n] = 0;
	n = 0;
	command(line);
	return true;
}

void guest_main(void)
{
	static const char watch[] = "control/shutdown\0s";
	char answer[64];

	pvg_events_init();
	pvg_store_init();
	pvg_store_request(XS_WATCH, 0, watch, sizeof(watch), answer, sizeof(answer));
	page = pvg_page_alloc();
	have_disk = !pvg_blk_open(&disk, 51712);
	pvg_unmask_port(start_info->console.domU.evtchn);
	pvg_unmask_port(start_info->store_evtchn);
	printf("service ready%s\n", have_disk ? ", with a disk" : "");
	for (;;) {
		pvg_cli();
		/* What comes after these looks leaves its port pending, and the block returns. */
		look_at_store();
		while (look_at_console())
			;
		HC2(sched_op, SCHEDOP_block, 0);
	}
}
