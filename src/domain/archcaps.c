/* SPDX-License-Identifier: MIT */
/*
 * A guest's kernel that is told nothing takes its processors for the weakest of their kind, and
 * under a hypervisor for weaker than they are. Of the workarounds one is dear: against indirect
 * target selection (ITS) Linux gives up its return instructions and jumps to a common one at the
 * upper end of a cache line instead, which costs a guest under ring3 7 to 20 % of what its kernel
 * does (doc/performance.md, "Disk and network"). It helps against nothing there: what is executed
 * is the translation, which lies elsewhere, and in which returns and indirect jumps have the places
 * that the translator gives them. So translated kernels are told that they need not. The same goes
 * for what Linux does to its returns on AMD's processors, against branch type confusion and the
 * overflow of the return stack (RETBleed, SRSO): cpuid_policy_translated().
 */
#include "domain/archcaps.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "/sys/devices/system/cpu/vulnerabilities"

static const struct {
	const char *file;
	uint64_t bits;
} known[] = {
	{"spec_store_bypass", ARCH_CAPS_SSB_NO},
	{"mds", ARCH_CAPS_MDS_NO},
	{"itlb_multihit", ARCH_CAPS_IF_PSCHANGE_NO},
	{"tsx_async_abort", ARCH_CAPS_TAA_NO},
	{"mmio_stale_data", ARCH_CAPS_SBDR_SSDP_NO | ARCH_CAPS_FBSDP_NO | ARCH_CAPS_PSDP_NO},
	{"gather_data_sampling", ARCH_CAPS_GDS_NO},
	{"reg_file_data_sampling", ARCH_CAPS_RFDS_NO},
	{"indirect_target_selection", ARCH_CAPS_ITS_NO},
};

static bool not_affected(const char *folder, const char *file)
{
	static const char words[] = "Not affected\n";
	char path[512], text[sizeof(words)];
	int n = snprintf(path, sizeof(path), "%s/%s", folder, file);

	if (n < 0 || (size_t)n >= sizeof(path))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t len = read(fd, text, sizeof(text));
	close(fd);
	return len == (ssize_t)strlen(words) && !memcmp(text, words, strlen(words));
}

uint64_t arch_caps_of_host(const char *folder)
{
	uint64_t caps = 0;

	if (!folder)
		folder = FOLDER;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (not_affected(folder, known[i].file))
			caps |= known[i].bits;
	/* One bit for two: rogue loads from the kernel's memory, and from the first-level cache. */
	if (not_affected(folder, "meltdown") && not_affected(folder, "l1tf"))
		caps |= ARCH_CAPS_RDCL_NO;
	return caps;
}

uint64_t arch_caps(bool translated)
{
	return arch_caps_of_host(NULL) | (translated ? ARCH_CAPS_ITS_NO : 0);
}
